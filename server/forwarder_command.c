/* The command line of `etcd gateway`: flags as etcd's has them, no environment, no file. */
#include "base/arena.h"
#include "base/text.h"
#include "net/address.h"
#include "net/srv.h"
#include "server/forwarder.h"
#include "server/logging.h"
#include "server/notify.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum flag_kind { FLAG_STRING, FLAG_STRINGS, FLAG_BOOL, FLAG_DURATION };

enum {
    FLAG_DISCOVERY_SRV,
    FLAG_DISCOVERY_SRV_NAME,
    FLAG_ENDPOINTS,
    FLAG_INSECURE_DISCOVERY,
    FLAG_LISTEN_ADDR,
    FLAG_RETRY_DELAY,
    FLAG_TRUSTED_CA_FILE,
    FLAG_COUNT,
};

static const struct {
    const char *name;
    enum flag_kind kind;
    const char *initial, *help;
} flags[FLAG_COUNT] = {
    {"discovery-srv", FLAG_STRING, "", "domain whose SRV records name the members"},
    {"discovery-srv-name", FLAG_STRING, "", "service name to ask for in DNS discovery"},
    {"endpoints", FLAG_STRINGS, "127.0.0.1:2379", "addresses of members, separated by commas"},
    {"insecure-discovery", FLAG_BOOL, "false", "accept SRV records of members without TLS"},
    {"listen-addr", FLAG_STRING, "127.0.0.1:23790", "where clients connect"},
    {"retry-delay", FLAG_DURATION, "1m0s", "time until a member that cannot be reached is tried again"},
    {"trusted-ca-file", FLAG_STRING, "",
     "authorities, which must be readable; members are not verified here"},
};

struct command {
    struct arena *memory;
    const char *values[FLAG_COUNT];
    bool given[FLAG_COUNT];
    bool start, help;
    struct forwarder_target targets[FORWARDER_TARGETS_MAX];
    size_t target_count;
};

static void print_usage(FILE *stream, const struct command *command)
{
    if (!command->start) {
        fputs("gateway related command\n\nUsage:\n  etcd gateway [command]\n\nAvailable Commands:\n"
              "  start       start the gateway\n\nFlags:\n  -h, --help   help for gateway\n\n"
              "Use \"etcd gateway [command] --help\" for more information about a command.\n",
              stream);
        return;
    }
    fputs("Usage:\n  etcd gateway start [flags]\n\nFlags:\n", stream);
    for (size_t i = 0; i < FLAG_COUNT; i++)
        fprintf(stream, "      --%-20s %s%s%s%s\n", flags[i].name, flags[i].help,
                *flags[i].initial == '\0' || flags[i].kind == FLAG_BOOL ? "" : " (default ",
                *flags[i].initial == '\0' || flags[i].kind == FLAG_BOOL ? "" : flags[i].initial,
                *flags[i].initial == '\0' || flags[i].kind == FLAG_BOOL ? "" : ")");
    fputs("  -h, --help                 help for start\n", stream);
}

/* ---- flags ---- */

static struct error *take_value(struct command *command, size_t flag, const char *value)
{
    int64_t duration;
    bool boolean;
    struct buf reason = {0};
    struct error *error = NULL;
    if ((flags[flag].kind == FLAG_DURATION && !text_parse_go_duration(value, &duration, &reason)) ||
        (flags[flag].kind == FLAG_BOOL && !text_parse_bool(value, &boolean, &reason)))
        error = error_new(ERROR_INVALID, "invalid argument \"%s\" for \"--%s\" flag: %s", value,
                          flags[flag].name, buf_string(&reason));
    buf_deinit(&reason);
    bool adds = flags[flag].kind == FLAG_STRINGS && command->given[flag];
    command->values[flag] =
        adds ? arena_printf(command->memory, "%s,%s", command->values[flag], value) : value;
    command->given[flag] = true;
    return error;
}

static struct error *parse(struct command *command, int argc, char **argv)
{
    for (size_t i = 0; i < FLAG_COUNT; i++) command->values[i] = flags[i].initial;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "start") == 0) {
            command->start = true;
            continue;
        }
        if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
            command->help = true;
            continue;
        }
        if (strncmp(word, "--", 2) != 0) return error_new(ERROR_INVALID, "unknown command \"%s\"", word);
        size_t size = strcspn(word + 2, "="), flag = 0;
        while (flag < FLAG_COUNT &&
               (strlen(flags[flag].name) != size || memcmp(flags[flag].name, word + 2, size) != 0))
            flag++;
        if (flag == FLAG_COUNT) return error_new(ERROR_INVALID, "unknown flag: --%.*s", (int)size, word + 2);
        const char *value = word[2 + size] == '=' ? word + 3 + size : NULL;
        if (value == NULL && flags[flag].kind == FLAG_BOOL) value = "true";
        if (value == NULL && i + 1 < argc) value = argv[++i];
        if (value == NULL) return error_new(ERROR_INVALID, "flag needs an argument: --%s", flags[flag].name);
        TRY(take_value(command, flag, value));
    }
    return NULL;
}

/* ---- whom to connect to ---- */

static struct error *add_target(struct command *command, const char *address, unsigned priority,
                                unsigned weight)
{
    char *host = NULL, *port = NULL;
    if (command->target_count == FORWARDER_TARGETS_MAX)
        return error_new(ERROR_LIMIT, "more than %d endpoints", FORWARDER_TARGETS_MAX);
    struct error *error = address_split(address, &host, &port);
    free(host);
    free(port);
    if (error != NULL) return error_wrap(error, "error parsing endpoint \"%s\"", address);
    command->targets[command->target_count++] = (struct forwarder_target){address, priority, weight};
    return NULL;
}

static struct error *discover(struct command *command, const char *service)
{
    struct srv_records records;
    const char *name = command->values[FLAG_DISCOVERY_SRV_NAME];
    TRY(srv_lookup(command->memory,
                   arena_printf(command->memory, "_%s%s%s._tcp.%s", service, *name == '\0' ? "" : "-", name,
                                command->values[FLAG_DISCOVERY_SRV]),
                   &records));
    for (size_t i = 0; i < records.count; i++) {
        const struct srv_record *record = &records.items[i];
        const char *address = arena_printf(command->memory, "%.*s:%u", (int)strlen(record->target) - 1,
                                           record->target, record->port);
        TRY(add_target(command, address, record->priority, record->weight));
    }
    return NULL;
}

static struct error *discover_all(struct command *command)
{
    bool insecure = false;
    text_parse_bool(command->values[FLAG_INSECURE_DISCOVERY], &insecure, NULL);
    struct error *secure = discover(command, "etcd-client-ssl");
    struct error *plain = insecure ? discover(command, "etcd-client") : NULL, *error = NULL;
    if (secure != NULL && (!insecure || plain != NULL))
        error = error_new(ERROR_NOT_FOUND, "%s%s%s", secure->text, plain == NULL ? "" : " and ",
                          plain == NULL ? "" : plain->text);
    error_free(secure);
    error_free(plain);
    return error;
}

static struct error *find_targets(struct command *command)
{
    const char *ca_file = command->values[FLAG_TRUSTED_CA_FILE];
    if (*ca_file != '\0' && access(ca_file, R_OK) != 0)
        return error_new(ERROR_INVALID, "open %s: it cannot be read", ca_file);
    if (*command->values[FLAG_DISCOVERY_SRV] != '\0') return discover_all(command);
    char *rest = arena_string(command->memory, bytes_from_string(command->values[FLAG_ENDPOINTS]));
    for (char *one; (one = strsep(&rest, ",")) != NULL;) {
        const char *scheme = strstr(one, "://");
        if (*one != '\0') TRY(add_target(command, scheme == NULL ? one : scheme + 3, 0, 0));
    }
    return NULL;
}

/* A gateway to itself would fill up with its own connections. */
static struct error *check_target(const struct command *command, const char *address)
{
    char *host = NULL, *port = NULL, *own_host = NULL, *own_port = NULL;
    const char *listen_address = command->values[FLAG_LISTEN_ADDR];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *own = NULL, *its = NULL;
    struct error *error = address_split(listen_address, &own_host, &own_port);
    if (error == NULL) error = address_split(address, &host, &port);
    if (error == NULL && getaddrinfo(own_host, own_port, &hints, &own) != 0)
        error = error_new(ERROR_NOT_FOUND, "failed to resolve listen host: %s", own_host);
    if (error == NULL && getaddrinfo(host, port, &hints, &its) != 0)
        error = error_new(ERROR_NOT_FOUND, "failed to resolve endpoint host: %s", host);
    for (struct addrinfo *a = own; error == NULL && a != NULL; a = a->ai_next)
        for (struct addrinfo *b = its; error == NULL && b != NULL; b = b->ai_next)
            if (a->ai_addrlen == b->ai_addrlen && memcmp(a->ai_addr, b->ai_addr, a->ai_addrlen) == 0)
                error = error_new(ERROR_INVALID,
                                  "SRV or endpoint (%s) should not resolve to the gateway listen addr (%s)",
                                  address, listen_address);
    if (own != NULL) freeaddrinfo(own);
    if (its != NULL) freeaddrinfo(its);
    free(host);
    free(port);
    free(own_host);
    free(own_port);
    return error;
}

/* ---- running ---- */

static struct error *run(struct command *command)
{
    const struct logger *logger = NULL;
    const struct logging_options log = {.outputs = "stderr", .level = LOG_INFO};
    struct loop *loop = loop_new();
    struct forwarder *forwarder = NULL;
    struct forwarder_config config = {
        .loop = loop,
        .listen_address = command->values[FLAG_LISTEN_ADDR],
        .targets = command->targets,
        .target_count = command->target_count,
    };
    const char *addresses[FORWARDER_TARGETS_MAX];
    TRY(logging_open(&log, &logger));
    config.logger = logger;
    text_parse_go_duration(command->values[FLAG_RETRY_DELAY], &config.retry_delay, NULL);
    if (config.retry_delay <= 0) config.retry_delay = 300 * LOOP_SECOND;
    TRY(forwarder_new(&config, &forwarder));
    error_free(notify_ready(getenv("NOTIFY_SOCKET")));
    for (size_t i = 0; i < command->target_count; i++) addresses[i] = command->targets[i].address;
    log_info(logger, "ready to proxy client requests",
             LOG_STRINGS("endpoints", addresses, command->target_count));
    loop_run(loop); /* until a signal ends the process */
    return NULL;
}

int forwarder_command(int argc, char **argv)
{
    struct command command = {.memory = arena_new()};
    struct error *error = parse(&command, argc, argv);
    int status = EXIT_SUCCESS;
    if (error != NULL) {
        fprintf(stderr, "Error: %s\n", error->text);
        print_usage(stderr, &command);
        status = EXIT_FAILURE;
    } else if (command.help || !command.start) {
        print_usage(stdout, &command);
    } else {
        error = find_targets(&command);
        if (error == NULL && command.target_count == 0)
            error = error_new(ERROR_INVALID, "no endpoints found");
        for (size_t i = 0; error == NULL && i < command.target_count; i++)
            error = check_target(&command, command.targets[i].address);
        if (error == NULL) error = run(&command);
        if (error != NULL) fprintf(stderr, "%s\n", error->text);
        status = EXIT_FAILURE;
    }
    error_free(error);
    logging_close();
    arena_free(command.memory);
    return status;
}
