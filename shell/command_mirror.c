/* make-mirror: copies a prefix to another cluster, then follows its changes. */
#include "api/keys.h"
#include "api/message.h"
#include "shell/commands.h"
#include "shell/shell.h"

enum { PAGE_SIZE = 1000 };
#define REPORT_INTERVAL (INT64_C(30) * 1000000000)

static const struct flag mirror_flags[] = {
    {"prefix", 0, FLAG_STRING, "", "copy only keys that start so", NULL},
    {"rev", 0, FLAG_INT, "0", "copy nothing, follow changes from this revision on", NULL},
    {"max-txn-ops", 0, FLAG_UINT, "128", "most changes in one transaction on the destination", NULL},
    {"dest-prefix", 0, FLAG_STRING, "", "what the keys start with at the destination", NULL},
    {"no-dest-prefix", 0, FLAG_BOOL, "false", "drop the prefix at the destination", NULL},
    {"dest-cert", 0, FLAG_STRING, "", "file with the client's TLS certificate for the destination", NULL},
    {"dest-key", 0, FLAG_STRING, "", "file with the client's TLS key for the destination", NULL},
    {"dest-cacert", 0, FLAG_STRING, "", "file with the CA certificates of the destination", NULL},
    {"dest-insecure-transport", 0, FLAG_BOOL, "true", "connect to the destination without TLS", NULL},
    {"dest-user", 0, FLAG_STRING, "",
     "username[:password] at the destination (asks when there is no password)", NULL},
    {"dest-password", 0, FLAG_STRING, "", "password at the destination (then --dest-user is the name alone)",
     NULL},
    {0},
};

struct mirror {
    struct shell *shell;
    struct blocking_client *destination;
    struct bytes prefix, destination_prefix;
    size_t operations_max;
    uint64_t total;
    int64_t next_report;
    struct arena *arena; /* of one page or one response */
};

/* The key at the destination: the first occurrence of the prefix is replaced. */
static ProtobufCBinaryData mapped_key(struct mirror *mirror, ProtobufCBinaryData key)
{
    struct buf mapped = {0};
    const uint8_t *at = mirror->prefix.size == 0
                            ? key.data
                            : memmem(key.data, key.len, mirror->prefix.data, mirror->prefix.size);
    size_t before = at == NULL ? key.len : (size_t)(at - key.data);
    buf_append(&mapped, key.data, before);
    if (at != NULL || key.len == 0) {
        buf_append_bytes(&mapped, mirror->destination_prefix);
        size_t skipped = before + mirror->prefix.size;
        buf_append(&mapped, key.data + skipped, key.len - skipped);
    }
    struct bytes copy = arena_copy(mirror->arena, buf_bytes(&mapped));
    buf_deinit(&mapped);
    return message_binary(copy);
}

static void report(struct mirror *mirror)
{
    if (client_now() < mirror->next_report) return;
    shell_print(mirror->shell, "%llu\n", (unsigned long long)mirror->total);
    mirror->next_report = client_now() + REPORT_INTERVAL;
}

static struct client_error *send(struct mirror *mirror, enum client_rpc rpc, const ProtobufCMessage *request)
{
    ProtobufCMessage *response;
    return blocking_call(mirror->destination, rpc, request, NULL, mirror->arena, &response);
}

/* ---- The copy ---- */

static struct client_error *copy_page(struct mirror *mirror, const Etcdserverpb__RangeResponse *page)
{
    for (size_t i = 0; i < page->n_kvs; i++) {
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        put.key = mapped_key(mirror, page->kvs[i]->key);
        put.value = page->kvs[i]->value;
        struct client_error *error = send(mirror, CLIENT_PUT, &put.base);
        if (error != NULL) return error;
        mirror->total++;
        report(mirror);
    }
    return NULL;
}

static struct client_error *copy_all(struct mirror *mirror, int64_t revision)
{
    struct buf key = {0};
    buf_append_bytes(&key, mirror->prefix.size > 0 ? mirror->prefix : KEY_OPEN_END);
    struct bytes range_end = key_prefix_end(mirror->prefix, mirror->shell->arena);
    struct client_error *error = NULL;
    for (bool more = true; more && error == NULL;) {
        arena_reset(mirror->arena);
        Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
        request.key = message_binary(buf_bytes(&key));
        request.range_end = message_binary(range_end);
        request.limit = PAGE_SIZE;
        request.revision = revision;
        ProtobufCMessage *message;
        error =
            blocking_call(mirror->shell->client, CLIENT_RANGE, &request.base, NULL, mirror->arena, &message);
        if (error != NULL) break;
        const Etcdserverpb__RangeResponse *page = (const Etcdserverpb__RangeResponse *)message;
        error = copy_page(mirror, page);
        more = page->more && page->n_kvs > 0;
        if (more) {
            ProtobufCBinaryData last = page->kvs[page->n_kvs - 1]->key;
            buf_clear(&key);
            buf_append(&key, last.data, last.len);
            buf_append_byte(&key, 0);
        }
    }
    buf_deinit(&key);
    return error;
}

/* The store's revision now. */
static struct client_error *find_revision(struct mirror *mirror, int64_t *revision)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = message_binary(mirror->prefix.size > 0 ? mirror->prefix : BYTES_LITERAL("foo"));
    ProtobufCMessage *message;
    struct client_error *error =
        blocking_call(mirror->shell->client, CLIENT_RANGE, &request.base, NULL, mirror->arena, &message);
    if (error != NULL) return error;
    const Etcdserverpb__RangeResponse *response = (const Etcdserverpb__RangeResponse *)message;
    *revision = response->header != NULL ? response->header->revision : 0;
    return NULL;
}

/* ---- Following ---- */

static struct client_error *commit(struct mirror *mirror, Etcdserverpb__RequestOp **operations, size_t *count)
{
    if (*count == 0) return NULL;
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    request.n_success = *count;
    request.success = operations;
    *count = 0;
    return send(mirror, CLIENT_TXN, &request.base);
}

static Etcdserverpb__RequestOp *operation_of(struct mirror *mirror, const Mvccpb__Event *event)
{
    Etcdserverpb__RequestOp *operation = arena_alloc(mirror->arena, sizeof(*operation));
    *operation = (Etcdserverpb__RequestOp)ETCDSERVERPB__REQUEST_OP__INIT;
    if (event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE) {
        Etcdserverpb__DeleteRangeRequest *del = arena_alloc(mirror->arena, sizeof(*del));
        *del = (Etcdserverpb__DeleteRangeRequest)ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
        del->key = mapped_key(mirror, event->kv->key);
        operation->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        operation->request_delete_range = del;
    } else {
        Etcdserverpb__PutRequest *put = arena_alloc(mirror->arena, sizeof(*put));
        *put = (Etcdserverpb__PutRequest)ETCDSERVERPB__PUT_REQUEST__INIT;
        put->key = mapped_key(mirror, event->kv->key);
        put->value = event->kv->value;
        operation->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        operation->request_put = put;
    }
    return operation;
}

/* The changes of one revision belong together, as far as the limit allows. */
static struct client_error *apply(struct mirror *mirror, const Etcdserverpb__WatchResponse *response)
{
    Etcdserverpb__RequestOp **operations =
        arena_alloc(mirror->arena, (response->n_events + 1) * sizeof(Etcdserverpb__RequestOp *));
    size_t count = 0;
    int64_t last = 0;
    struct client_error *error = NULL;
    for (size_t i = 0; i < response->n_events && error == NULL; i++) {
        const Mvccpb__Event *event = response->events[i];
        if (event->kv == NULL) continue;
        bool next_revision = last != 0 && event->kv->mod_revision > last;
        if (next_revision || count >= mirror->operations_max) error = commit(mirror, operations, &count);
        last = event->kv->mod_revision;
        operations[count++] = operation_of(mirror, event);
        mirror->total++;
    }
    return error != NULL ? error : commit(mirror, operations, &count);
}

static struct client_error *follow(struct mirror *mirror, int64_t revision)
{
    const struct client_watch_options options = {
        .key = mirror->prefix.size > 0 ? mirror->prefix : KEY_OPEN_END,
        .range_end = key_prefix_end(mirror->prefix, mirror->shell->arena),
        .start_revision = revision,
    };
    struct blocking_inbox *inbox = blocking_inbox_new(mirror->shell->client);
    blocking_watch(inbox, &options, NULL);
    struct client_error *error = NULL;
    for (bool more = true; more && error == NULL;) {
        struct blocking_event event;
        enum blocking_wait wait = blocking_next(inbox, mirror->next_report, &event);
        report(mirror);
        if (wait == BLOCKING_INTERRUPTED) error = client_error_canceled();
        if (wait != BLOCKING_EVENT) continue;
        arena_reset(mirror->arena);
        more = event.kind == CLIENT_EVENT_MESSAGE;
        if (more)
            error = apply(mirror, (const Etcdserverpb__WatchResponse *)event.response);
        else {
            error = event.error;
            event.error = NULL;
        }
        blocking_event_deinit(&event);
    }
    blocking_inbox_free(inbox);
    return error;
}

/* ---- The command ---- */

static void read_destination_login(struct shell *shell, const struct flag_set *flags,
                                   struct client_options *options)
{
    const char *user = flag_string(flags, "dest-user"), *password = flag_string(flags, "dest-password");
    const char *colon = strchr(user, ':');
    options->user = user[0] != 0 ? user : NULL;
    options->password = password;
    options->token = NULL;
    if (user[0] == 0 || password[0] != 0) return;
    if (colon != NULL) {
        options->user = arena_string(shell->arena, bytes_of(user, (size_t)(colon - user)));
        options->password = colon + 1;
        return;
    }
    struct buf secret = {0};
    shell_read_secret(shell, "Destination Password: ", &secret);
    options->password = arena_string(shell->arena, buf_bytes(&secret));
    buf_deinit(&secret);
}

static const char *given(const struct flag_set *flags, const char *name)
{
    const char *text = flag_string(flags, name);
    return text[0] != 0 ? text : NULL;
}

static int open_destination(struct shell *shell, const struct invocation *line,
                            struct blocking_client **destination)
{
    const struct flag_set *flags = &line->flags;
    const char *endpoint = word_string(&line->words, 0);
    struct client_options options = shell->options;
    options.endpoints = &endpoint;
    options.endpoint_count = 1;
    options.tls = (struct client_tls_options){
        .enabled = !flag_bool(flags, "dest-insecure-transport"),
        .certificate_file = given(flags, "dest-cert"),
        .key_file = given(flags, "dest-key"),
        .ca_file = given(flags, "dest-cacert"),
    };
    read_destination_login(shell, flags, &options);
    return shell_dial(shell, &options, destination);
}

static struct client_error *run_mirror(struct mirror *mirror, const struct flag_set *flags)
{
    int64_t revision = flag_int(flags, "rev");
    if (revision > 1) return follow(mirror, revision);
    /* As etcdctl: only a full copy takes the source's prefix over. */
    if (!flag_bool(flags, "no-dest-prefix") && mirror->destination_prefix.size == 0)
        mirror->destination_prefix = mirror->prefix;
    struct client_error *error = find_revision(mirror, &revision);
    if (error == NULL) error = copy_all(mirror, revision);
    return error != NULL ? error : follow(mirror, revision + 1);
}

static int run_make_mirror(struct shell *shell, const struct invocation *line)
{
    const struct flag_set *flags = &line->flags;
    if (line->words.count != 1)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "make-mirror takes one destination argument");
    if (flag_string(flags, "dest-prefix")[0] != 0 && flag_bool(flags, "no-dest-prefix"))
        return shell_fail(
            shell, SHELL_BAD_ARGUMENTS,
            "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one");
    struct blocking_client *destination = NULL;
    int status = shell_open(shell, line);
    if (status == SHELL_OK) status = open_destination(shell, line, &destination);
    if (status != SHELL_OK) return status;
    uint64_t limit = flag_uint(flags, "max-txn-ops");
    struct mirror mirror = {
        .shell = shell,
        .destination = destination,
        .prefix = bytes_from_string(flag_string(flags, "prefix")),
        .destination_prefix = bytes_from_string(flag_string(flags, "dest-prefix")),
        .operations_max = limit == 0 ? 1 : (size_t)limit,
        .next_report = client_now() + REPORT_INTERVAL,
        .arena = arena_new(),
    };
    struct client_error *error = run_mirror(&mirror, flags);
    blocking_free(destination);
    arena_free(mirror.arena);
    if (error == NULL) return shell_fail(shell, SHELL_FAILED, "the watch on the source ended");
    return shell_fail_call(shell, SHELL_FAILED, error);
}

const struct command command_make_mirror = {
    .name = "make-mirror",
    .usage = "[options] <destination>",
    .summary = "Makes a mirror at the destination etcd cluster",
    .flags = mirror_flags,
    .run = run_make_mirror,
    .properties = COMMAND_ENDLESS,
};
