/* How a command gets its client: the environment, the global options, endpoints, TLS files, the login. */
#include "shell/discovery.h"
#include "shell/environment.h"
#include "shell/shell.h"

#include "base/text.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Read by `watch` itself. */
static const char *const watch_variables[] = {"ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END", NULL};

/* Options that say where and how to connect: given on a line, that line needs a client of its own. */
static const char *const connection_flags[] = {
    "endpoints",
    "dial-timeout",
    "keepalive-time",
    "keepalive-timeout",
    "max-request-bytes",
    "max-recv-bytes",
    "insecure-transport",
    "insecure-skip-tls-verify",
    "insecure-discovery",
    "cert",
    "key",
    "cacert",
    "user",
    "password",
    "auth-jwt-token",
    "discovery-srv",
    "discovery-srv-name",
    "debug",
    NULL,
};

static int read_environment(struct shell *shell, const struct invocation *line)
{
    bool watches = strcmp(line->path, "watch") == 0;
    struct environment_report report;
    struct flag_set *flags = (struct flag_set *)(uintptr_t)&line->flags;
    environment_apply(flags, shell->environment, watches ? watch_variables : NULL, &report);
    if (report.conflict != NULL) {
        const struct log_field field = LOG_STRING("environment-variable", report.conflict);
        shell_log(
            shell, LOG_FATAL,
            "conflicting environment variable is shadowed by corresponding command-line flag (either unset "
            "environment variable or disable flag))",
            &field, 1);
        return SHELL_FAILED;
    }
    for (size_t i = 0; i < report.unrecognized_count; i++) {
        const struct log_field field = LOG_STRING("environment-variable", report.unrecognized[i]);
        shell_log(shell, LOG_WARN, "unrecognized environment variable", &field, 1);
    }
    return SHELL_OK;
}

static void print_debug(struct shell *shell, const struct flag_set *flags)
{
    struct buf text = {0};
    for (size_t i = 0; i < flags->count; i++) {
        if (!flags->values[i].inherited) continue;
        buf_printf(&text, "%s=", environment_name(flags->values[i].flag, shell->arena));
        flag_value_text(&text, &flags->values[i]);
        buf_append_byte(&text, '\n');
    }
    shell_print_error(shell, "%s", buf_string(&text));
    buf_deinit(&text);
}

/* ---- Options ---- */

static const char *trimmed(const char *text, struct arena *arena)
{
    while (isspace((unsigned char)*text)) text++;
    size_t size = strlen(text);
    while (size > 0 && isspace((unsigned char)text[size - 1])) size--;
    return arena_string(arena, bytes_of(text, size));
}

/* Replaces --endpoints by what DNS knows, when it was asked to. */
static int discover(struct shell *shell, const struct flag_set *flags, struct client_options *options)
{
    const char *domain = flag_string(flags, "discovery-srv");
    if (domain[0] == 0) return SHELL_OK;
    struct discovery found;
    struct error *error =
        discovery_lookup(shell->arena, domain, flag_string(flags, "discovery-srv-name"), &found);
    if (error != NULL) {
        shell_fail(shell, SHELL_FAILED, "%s", error->text);
        error_free(error);
        return SHELL_FAILED;
    }
    size_t kept = 0;
    bool insecure_too = flag_bool(flags, "insecure-discovery");
    for (size_t i = 0; i < found.count; i++) {
        if (insecure_too || strncmp(found.endpoints[i], "https://", 8) == 0)
            found.endpoints[kept++] = found.endpoints[i];
        else
            shell_print_error(shell, "ignoring discovered insecure endpoint \"%s\"\n", found.endpoints[i]);
    }
    if (kept > 0) {
        options->endpoints = found.endpoints;
        options->endpoint_count = kept;
    }
    if (!insecure_too) options->tls.server_name = domain;
    return SHELL_OK;
}

static struct client_options options_from_flags(struct shell *shell, const struct flag_set *flags)
{
    const struct flag_value *endpoints = flag_find(flags, "endpoints");
    const char **list = arena_alloc(shell->arena, (endpoints->list_size + 1) * sizeof(*list));
    for (size_t i = 0; i < endpoints->list_size; i++) list[i] = trimmed(endpoints->list[i], shell->arena);
    const char *token = flag_string(flags, "auth-jwt-token");
    const char *certificate = flag_string(flags, "cert"), *key = flag_string(flags, "key"),
               *ca = flag_string(flags, "cacert");
    struct client_options options = {
        .endpoints = list,
        .endpoint_count = endpoints->list_size,
        .token = token[0] != 0 ? token : NULL,
        .dial_timeout = flag_int(flags, "dial-timeout"),
        .keep_alive_time = flag_int(flags, "keepalive-time"),
        .keep_alive_timeout = flag_int(flags, "keepalive-timeout"),
        .max_send_bytes = (size_t)flag_int(flags, "max-request-bytes"),
        .max_receive_bytes = (size_t)flag_int(flags, "max-recv-bytes"),
        .tls = {.enabled = !flag_bool(flags, "insecure-transport"),
                .insecure_skip_verify = flag_bool(flags, "insecure-skip-tls-verify"),
                .certificate_file = certificate[0] != 0 ? certificate : NULL,
                .key_file = key[0] != 0 ? key : NULL,
                .ca_file = ca[0] != 0 ? ca : NULL},
    };
    return options;
}

static int check_file(struct shell *shell, const char *path)
{
    if (path == NULL) return SHELL_OK;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor >= 0) {
        close(descriptor);
        return SHELL_OK;
    }
    const char *reason = strerror(errno);
    return shell_fail(shell, SHELL_BAD_ARGUMENTS, "open %s: %c%s", path, tolower((unsigned char)reason[0]),
                      reason + 1);
}

static int check_tls_texts(struct shell *shell, const struct flag_set *flags)
{
    static const char *const files[] = {"cert", "key", "cacert"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (flag_changed(flags, files[i]) && flag_string(flags, files[i])[0] == 0)
            return shell_fail(shell, SHELL_BAD_ARGUMENTS, "empty string is passed to --%s option", files[i]);
    return SHELL_OK;
}

static int check_tls_files(struct shell *shell, const struct flag_set *flags,
                           const struct client_tls_options *tls)
{
    if ((tls->certificate_file == NULL) != (tls->key_file == NULL))
        return shell_fail(shell, SHELL_BAD_ARGUMENTS,
                          "KeyFile and CertFile must both be present[key: %s, cert: %s]",
                          flag_string(flags, "key"), flag_string(flags, "cert"));
    int status = check_file(shell, tls->certificate_file);
    if (status == SHELL_OK) status = check_file(shell, tls->key_file);
    if (status == SHELL_OK) status = check_file(shell, tls->ca_file);
    return status;
}

/* --user NAME:PASSWORD, --user NAME --password PASSWORD, or --user NAME and a question. */
static void read_login(struct shell *shell, const struct flag_set *flags, struct client_options *options)
{
    const char *user = flag_string(flags, "user"), *password = flag_string(flags, "password");
    const char *colon = strchr(user, ':');
    if (user[0] == 0 || options->token != NULL) return;
    options->user = user;
    options->password = password;
    if (password[0] != 0) return;
    if (colon != NULL) {
        options->user = arena_string(shell->arena, bytes_of(user, (size_t)(colon - user)));
        options->password = colon + 1;
        return;
    }
    struct buf secret = {0};
    shell_read_secret(shell, "Password: ", &secret);
    options->password = arena_string(shell->arena, buf_bytes(&secret));
    buf_deinit(&secret);
}

static int check_limits(struct shell *shell, const struct flag_set *flags)
{
    int64_t send = flag_int(flags, "max-request-bytes"), receive = flag_int(flags, "max-recv-bytes");
    if (send > 0 && receive > 0 && receive < send)
        return shell_fail(shell, SHELL_BAD_CONNECTION,
                          "gRPC message recv limit (%lld bytes) must be greater than send limit (%lld bytes)",
                          (long long)receive, (long long)send);
    if (send < 0 || receive < 0)
        return shell_fail(shell, SHELL_BAD_CONNECTION, "message limits must not be negative");
    return SHELL_OK;
}

static int check_format(struct shell *shell, const struct flag_set *flags)
{
    if (!output_format_parse(flag_string(flags, "write-out"), &shell->style.format))
        return shell_fail(shell, SHELL_BAD_FEATURE, "unsupported output format");
    return SHELL_OK;
}

/* ---- The client ---- */

static void emit_log(void *context, const struct log_record *record)
{
    /* From the client's own thread; the error stream's writes are whole lines. */
    shell_log(context, record->level, record->message, record->fields, record->field_count);
}

/* Everything that the options decide before anybody is called. */
static int prepare(struct shell *shell, const struct invocation *line)
{
    const struct flag_set *flags = &line->flags;
    struct client_options *options = &shell->options;
    shell->style.hex = flag_bool(flags, "hex");
    shell->command_timeout = flag_int(flags, "command-timeout");
    *options = options_from_flags(shell, flags);
    int status = discover(shell, flags, options);
    if (status == SHELL_OK) status = check_tls_texts(shell, flags);
    if (status != SHELL_OK) return status;
    read_login(shell, flags, options);
    status = check_format(shell, flags);
    if (status == SHELL_OK) status = check_tls_files(shell, flags, &options->tls);
    if (status == SHELL_OK) status = check_limits(shell, flags);
    if (status != SHELL_OK) return status;
    if (options->endpoint_count == 0)
        return shell_fail(shell, SHELL_BAD_CONNECTION, "etcdclient: no available endpoints");
    if (flag_bool(flags, "debug")) {
        struct logger *logger = arena_alloc(shell->arena, sizeof(*logger));
        *logger = (struct logger){.level = LOG_DEBUG, .emit = emit_log, .context = shell};
        options->logger = logger;
    }
    return SHELL_OK;
}

int shell_prepare(struct shell *shell, const struct invocation *line)
{
    if (shell->is_prepared) return SHELL_OK;
    int status = shell->session == NULL ? read_environment(shell, line) : SHELL_OK;
    if (status != SHELL_OK) return status;
    if (shell->session == NULL && flag_bool(&line->flags, "debug")) print_debug(shell, &line->flags);
    status = prepare(shell, line);
    shell->is_prepared = status == SHELL_OK;
    return status;
}

int shell_dial(struct shell *shell, const struct client_options *options, struct blocking_client **client)
{
    struct client_error *refused = NULL;
    struct error *error = blocking_new(options, client, &refused);
    if (refused != NULL) return shell_fail_call(shell, SHELL_BAD_CONNECTION, refused);
    if (error == NULL) return SHELL_OK;
    bool tls_files = options->tls.certificate_file != NULL || options->tls.ca_file != NULL;
    int status = shell_fail(shell, tls_files ? SHELL_BAD_ARGUMENTS : SHELL_BAD_CONNECTION, "%s", error->text);
    error_free(error);
    return status;
}

static bool needs_own_client(const struct shell *shell, const struct flag_set *flags)
{
    if (shell->session == NULL) return true;
    for (size_t i = 0; connection_flags[i] != NULL; i++)
        if (flag_changed(flags, connection_flags[i])) return true;
    return false;
}

static void use_client(struct shell *shell, struct blocking_client *client, bool own)
{
    shell->client = client;
    shell->client_is_own = own;
    shell->interruptible = client;
    /* An interrupt may have come while there was nobody to tell. */
    if (shell->interrupted) blocking_interrupt(client);
}

int shell_open(struct shell *shell, const struct invocation *line)
{
    if (shell->client != NULL) return SHELL_OK;
    int status = shell_prepare(shell, line);
    if (status != SHELL_OK) return status;
    if (!needs_own_client(shell, &line->flags)) {
        use_client(shell, shell->session, false);
        return SHELL_OK;
    }
    struct blocking_client *client;
    status = shell_dial(shell, &shell->options, &client);
    if (status == SHELL_OK) use_client(shell, client, true);
    return status;
}

/* ---- Sessions ---- */

/* The answer to the question for a password holds for the whole session. */
static void keep_login(struct flag_set *flags, const struct client_options *options)
{
    if (options->user == NULL || options->password == NULL || options->password[0] == 0) return;
    flag_set_assign(flags, flag_find(flags, "user"), options->user, NULL);
    flag_set_assign(flags, flag_find(flags, "password"), options->password, NULL);
}

int shell_connect(struct shell *shell, const struct words *words)
{
    assert(shell->client == NULL && "not while a command runs");
    struct arena *arena = arena_new(), *outer = shell->arena;
    struct invocation line = {.command = &command_root, .path = ""};
    struct command_path path = {.steps = {&command_root}, .depth = 1};
    struct buf reason = {0};
    command_flags(&path, arena, true, &line.flags);
    int status = SHELL_OK;
    if (flag_set_parse(&line.flags, words, &line.words, &reason) != FLAG_PARSED)
        status = shell_fail(shell, SHELL_FAILED, "%s", buf_string(&reason));
    buf_deinit(&reason);
    struct blocking_client *client = NULL;
    shell->arena = arena;
    if (status == SHELL_OK) status = read_environment(shell, &line);
    if (status == SHELL_OK && flag_bool(&line.flags, "debug")) print_debug(shell, &line.flags);
    if (status == SHELL_OK) status = prepare(shell, &line);
    if (status == SHELL_OK) status = shell_dial(shell, &shell->options, &client);
    if (status == SHELL_OK) keep_login(&line.flags, &shell->options);
    shell->arena = outer;
    if (status != SHELL_OK) {
        arena_free(arena);
        return status;
    }
    blocking_free(shell->session);
    arena_free(shell->session_arena);
    shell->session = client;
    shell->session_arena = arena;
    shell->session_flags = line.flags;
    return SHELL_OK;
}

bool shell_set_option(struct shell *shell, const char *name, const char *value, struct buf *reason)
{
    assert(shell->session != NULL);
    struct flag_value *option = flag_find(&shell->session_flags, name);
    if (option == NULL) {
        buf_printf(reason, "there is no option --%s", name);
        return false;
    }
    return flag_set_assign(&shell->session_flags, option, value, reason);
}
