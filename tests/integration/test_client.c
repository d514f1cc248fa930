/* The client library against a real etcd 3.5: ETCD35_BIN names the folder of its programs. Skipped (77)
 * without.
 *
 * Each test starts a server of its own on a free port of the loopback interface, in a temporary folder. */
#include "api/keys.h"
#include "api/message.h"
#include "base/list.h"
#include "client/blocking.h"
#include "client/recipe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static const char *programs;

/* ---- A server ---- */

static struct server {
    char folder[64];
    int client_port, peer_port;
    char endpoint[40];
    pid_t process;
} server;

/* From below the range that the system takes outgoing connections' ports from, so that none of them can have
 * it by the time the server listens. */
static int free_port(void)
{
    enum { FIRST = 10000, LAST = 32000 };
    static unsigned seed;
    if (seed == 0) seed = (unsigned)getpid() * 2654435761u;
    for (;;) {
        int port = FIRST + rand_r(&seed) % (LAST - FIRST);
        int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        bool is_free = bind(descriptor, (struct sockaddr *)&address, sizeof(address)) == 0;
        close(descriptor);
        if (is_free) return port;
    }
}

static void server_start(void)
{
    struct arena *arena = arena_new();
    char *clients = arena_printf(arena, "http://127.0.0.1:%d", server.client_port);
    char *peers = arena_printf(arena, "http://127.0.0.1:%d", server.peer_port);
    char *arguments[] = {arena_printf(arena, "%s/etcd", programs),
                         arena_printf(arena, "--data-dir=%s/data", server.folder),
                         arena_printf(arena, "--listen-client-urls=%s", clients),
                         arena_printf(arena, "--advertise-client-urls=%s", clients),
                         arena_printf(arena, "--listen-peer-urls=%s", peers),
                         arena_printf(arena, "--initial-advertise-peer-urls=%s", peers),
                         arena_printf(arena, "--initial-cluster=default=%s", peers),
                         arena_printf(arena, "--auth-token-ttl=1"),
                         NULL};
    char *log = arena_printf(arena, "%s/log", server.folder);
    server.process = fork();
    if (server.process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int descriptor = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(descriptor, STDOUT_FILENO);
        dup2(descriptor, STDERR_FILENO);
        execv(arguments[0], arguments);
        _exit(127);
    }
    assert_true(server.process > 0);
    arena_free(arena);
}

static void server_kill(void)
{
    if (server.process <= 0) return;
    kill(server.process, SIGKILL);
    waitpid(server.process, NULL, 0);
    server.process = 0;
}

static void server_new(void)
{
    server = (struct server){.client_port = free_port(), .peer_port = free_port()};
    snprintf(server.folder, sizeof(server.folder), "/tmp/client-test-XXXXXX");
    assert_non_null(mkdtemp(server.folder));
    snprintf(server.endpoint, sizeof(server.endpoint), "127.0.0.1:%d", server.client_port);
    server_start();
}

/* After each test, also after one that failed. */
static int server_free(void **state)
{
    (void)state;
    if (server.folder[0] == 0) return 0;
    char command[128];
    server_kill();
    snprintf(command, sizeof(command), "rm -rf %s", server.folder);
    server.folder[0] = 0;
    return system(command);
}

/* ---- Calls that must go well ---- */

static void expect_success(struct client_error *error)
{
    if (error == NULL) return;
    struct buf text = {0};
    client_error_format(&text, error);
    fail_msg("%s", buf_string(&text));
}

static void expect_error(struct client_error *error, const char *text)
{
    struct buf shown = {0};
    assert_non_null(error);
    client_error_format(&shown, error);
    assert_string_equal(buf_string(&shown), text);
    buf_deinit(&shown);
    client_error_free(error);
}

static struct blocking_client *connect_as(const char *const *endpoints, size_t count, const char *user)
{
    struct client_options options = {.endpoints = endpoints,
                                     .endpoint_count = count,
                                     .user = user,
                                     .password = user == NULL ? NULL : "secret",
                                     .dial_timeout = 10 * SECOND};
    struct blocking_client *blocking = NULL;
    struct client_error *login_error = NULL;
    struct error *error = blocking_new(&options, &blocking, &login_error);
    assert_null(error);
    expect_success(login_error);
    return blocking;
}

static struct blocking_client *connect_to_server(void)
{
    const char *endpoint = server.endpoint;
    return connect_as(&endpoint, 1, NULL);
}

static struct client_error *try_put(struct blocking_client *blocking, const char *key, const char *value,
                                    int64_t lease, int64_t timeout, int64_t *revision)
{
    struct arena *arena = arena_new();
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.key = message_binary(bytes_from_string(key));
    request.value = message_binary(bytes_from_string(value));
    request.lease = lease;
    struct client_call_options options = {.deadline = client_deadline_after(timeout)};
    ProtobufCMessage *response = NULL;
    struct client_error *error =
        blocking_call(blocking, CLIENT_PUT, &request.base, &options, arena, &response);
    if (error == NULL && revision != NULL)
        *revision = ((Etcdserverpb__PutResponse *)response)->header->revision;
    arena_free(arena);
    return error;
}

static int64_t put(struct blocking_client *blocking, const char *key, const char *value)
{
    int64_t revision = 0;
    expect_success(try_put(blocking, key, value, 0, 20 * SECOND, &revision));
    return revision;
}

/* The first write after the server was killed may go out on the connection whose end has not been read yet.
 * It is lost then, and rightly not repeated by the client. Here it is known that no server was there to do
 * it, so it is written anew. */
static int64_t put_after_kill(struct blocking_client *blocking, const char *key, const char *value)
{
    int64_t revision = 0;
    struct client_error *error = try_put(blocking, key, value, 0, 20 * SECOND, &revision);
    if (error == NULL) return revision;
    assert_int_equal(error->code, GRPC_UNAVAILABLE);
    assert_int_equal(error->known, API_OK); /* the connection's, not a server's answer */
    client_error_free(error);
    return put(blocking, key, value);
}

static struct client_error *try_get(struct blocking_client *blocking, const char *key, int64_t timeout,
                                    struct arena *arena, Etcdserverpb__RangeResponse **response)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = message_binary(bytes_from_string(key));
    struct client_call_options options = {.deadline = client_deadline_after(timeout)};
    ProtobufCMessage *message = NULL;
    struct client_error *error =
        blocking_call(blocking, CLIENT_RANGE, &request.base, &options, arena, &message);
    *response = (Etcdserverpb__RangeResponse *)message;
    return error;
}

static int64_t count_of(struct blocking_client *blocking, const char *key)
{
    struct arena *arena = arena_new();
    Etcdserverpb__RangeResponse *response = NULL;
    expect_success(try_get(blocking, key, 20 * SECOND, arena, &response));
    int64_t count = response->count;
    arena_free(arena);
    return count;
}

/* An RPC whose answer does not matter. */
static void call(struct blocking_client *blocking, enum client_rpc rpc, const ProtobufCMessage *request)
{
    struct client_call_options options = {.deadline = client_deadline_after(20 * SECOND)};
    expect_success(blocking_call(blocking, rpc, request, &options, NULL, NULL));
}

/* ---- Tests ---- */

static void what_is_put_is_got(void **state)
{
    (void)state;
    server_new();
    struct blocking_client *blocking = connect_to_server();
    assert_int_equal(put(blocking, "k", "v"), 2);
    struct arena *arena = arena_new();
    Etcdserverpb__RangeResponse *response = NULL;
    expect_success(try_get(blocking, "k", 5 * SECOND, arena, &response));
    assert_int_equal(response->n_kvs, 1);
    assert_true(bytes_equal(message_bytes(response->kvs[0]->value), BYTES_LITERAL("v")));
    expect_error(try_put(blocking, "", "v", 0, 5 * SECOND, NULL), "etcdserver: key is not provided");
    expect_error(try_put(blocking, "k", "v", 99, 5 * SECOND, NULL), "etcdserver: requested lease not found");

    Etcdserverpb__StatusRequest status = ETCDSERVERPB__STATUS_REQUEST__INIT;
    struct client_call_options options = {.endpoint = server.endpoint,
                                          .deadline = client_deadline_after(5 * SECOND)};
    ProtobufCMessage *message = NULL;
    expect_success(blocking_call(blocking, CLIENT_STATUS, &status.base, &options, arena, &message));
    assert_true(((Etcdserverpb__StatusResponse *)message)->leader != 0);
    arena_free(arena);
    blocking_free(blocking);
}

static void a_large_value_comes_back_whole(void **state)
{
    (void)state;
    server_new();
    struct blocking_client *blocking = connect_to_server();
    struct buf value = {0};
    for (int i = 0; i < 1000000; i++) buf_append_byte(&value, (uint8_t)('a' + i % 26));
    put(blocking, "large", buf_string(&value));
    struct arena *arena = arena_new();
    Etcdserverpb__RangeResponse *response = NULL;
    expect_success(try_get(blocking, "large", 5 * SECOND, arena, &response));
    assert_true(bytes_equal(message_bytes(response->kvs[0]->value), buf_bytes(&value)));
    for (int i = 0; i < 1500000; i++) buf_append_byte(&value, 'x');
    struct client_error *error = try_put(blocking, "large", buf_string(&value), 0, 5 * SECOND, NULL);
    assert_non_null(error);
    assert_int_equal(error->code, GRPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(error->message, "trying to send message larger than max (25000"));
    client_error_free(error);
    buf_deinit(&value);
    arena_free(arena);
    blocking_free(blocking);
}

/* Takes events until `count` of them came, checking that revisions follow each other without gap. */
static void expect_events(struct blocking_inbox *inbox, int64_t first_revision, size_t count)
{
    int64_t expected = first_revision;
    while (expected < first_revision + (int64_t)count) {
        struct blocking_event event;
        enum blocking_wait wait = blocking_next(inbox, client_deadline_after(20 * SECOND), &event);
        assert_int_equal(wait, BLOCKING_EVENT);
        assert_int_equal(event.kind, CLIENT_EVENT_MESSAGE);
        const Etcdserverpb__WatchResponse *response = (const Etcdserverpb__WatchResponse *)event.response;
        for (size_t i = 0; i < response->n_events; i++)
            assert_int_equal(response->events[i]->kv->mod_revision, expected++);
        blocking_event_deinit(&event);
    }
}

static void a_watch_lives_through_restarts_without_loss_or_repetition(void **state)
{
    (void)state;
    server_new();
    struct blocking_client *watcher = connect_to_server(), *writer = connect_to_server();
    int64_t revision = put(writer, "w/0", "");
    struct blocking_inbox *inbox = blocking_inbox_new(watcher);
    struct client_watch_options options = {.key = BYTES_LITERAL("w/"), .range_end = BYTES_LITERAL("w0")};
    blocking_watch(inbox, &options, NULL);
    options.start_revision = revision + 1;
    struct blocking_inbox *behind = blocking_inbox_new(watcher);
    blocking_watch(behind, &options, NULL);
    /* The first of the two begins "now": let it be created before anything is written. */
    struct blocking_event event;
    assert_int_equal(blocking_next(inbox, client_deadline_after(SECOND), &event), BLOCKING_TIMEOUT);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 50; i++) {
            int64_t written = i == 0 ? put_after_kill(writer, "w/k", "v") : put(writer, "w/k", "v");
            assert_int_equal(written, revision + 50 * round + i + 1);
        }
        server_kill();
        server_start();
    }
    put_after_kill(writer, "w/last", "v");
    expect_events(inbox, revision + 1, 151);
    expect_events(behind, revision + 1, 151);
    assert_int_equal(blocking_next(inbox, client_deadline_after(SECOND / 5), &event), BLOCKING_TIMEOUT);
    blocking_inbox_free(inbox);
    blocking_inbox_free(behind);
    blocking_free(watcher);
    blocking_free(writer);
}

static void reads_live_through_a_restart(void **state)
{
    (void)state;
    server_new();
    struct blocking_client *blocking = connect_to_server();
    put(blocking, "k", "v");
    server_kill();
    server_start();
    assert_int_equal(count_of(blocking, "k"), 1);
    blocking_free(blocking);
}

static void a_watch_below_the_compaction_ends(void **state)
{
    (void)state;
    server_new();
    struct blocking_client *blocking = connect_to_server();
    for (int i = 0; i < 5; i++) put(blocking, "k", "v");
    Etcdserverpb__CompactionRequest compact = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    compact.revision = 4;
    call(blocking, CLIENT_COMPACT, &compact.base);
    struct blocking_inbox *inbox = blocking_inbox_new(blocking);
    struct client_watch_options options = {.key = BYTES_LITERAL("k"), .start_revision = 2};
    blocking_watch(inbox, &options, NULL);
    struct blocking_event event;
    assert_int_equal(blocking_next(inbox, client_deadline_after(10 * SECOND), &event), BLOCKING_EVENT);
    assert_int_equal(((const Etcdserverpb__WatchResponse *)event.response)->compact_revision, 4);
    blocking_event_deinit(&event);
    assert_int_equal(blocking_next(inbox, client_deadline_after(10 * SECOND), &event), BLOCKING_EVENT);
    assert_int_equal(event.kind, CLIENT_EVENT_END);
    assert_true(client_error_is(event.error, API_ERROR_COMPACTED));
    blocking_event_deinit(&event);
    blocking_inbox_free(inbox);
    blocking_free(blocking);
}

static void progress_is_told_when_asked_for(void **state)
{
    (void)state;
    server_new();
    struct blocking_client *blocking = connect_to_server();
    int64_t revision = put(blocking, "other", "v");
    struct blocking_inbox *inbox = blocking_inbox_new(blocking);
    struct client_watch_options options = {.key = BYTES_LITERAL("k"), .created_notify = true};
    blocking_watch(inbox, &options, NULL);
    struct blocking_event event;
    assert_int_equal(blocking_next(inbox, client_deadline_after(10 * SECOND), &event), BLOCKING_EVENT);
    assert_true(((const Etcdserverpb__WatchResponse *)event.response)->created);
    blocking_event_deinit(&event);
    blocking_request_progress(blocking);
    assert_int_equal(blocking_next(inbox, client_deadline_after(10 * SECOND), &event), BLOCKING_EVENT);
    assert_int_equal(((const Etcdserverpb__WatchResponse *)event.response)->header->revision, revision);
    blocking_event_deinit(&event);
    blocking_inbox_free(inbox);
    blocking_free(blocking);
}

static int64_t grant(struct blocking_client *blocking, int64_t ttl)
{
    struct arena *arena = arena_new();
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    request.ttl = ttl;
    ProtobufCMessage *response = NULL;
    expect_success(blocking_call(blocking, CLIENT_LEASE_GRANT, &request.base, NULL, arena, &response));
    int64_t lease = ((Etcdserverpb__LeaseGrantResponse *)response)->id;
    arena_free(arena);
    return lease;
}

/* Says why a lease may have been lost: an answer that came late, or a server whose disk stood still. */
static void explain_lost_lease(const struct blocking_event *event, int64_t last_renewal)
{
    char command[256];
    fprintf(stderr,
            "the keep-alive ended (%s) %.3f s after the last renewal; slow requests in the server's log:\n",
            event->error == NULL ? "no error" : event->error->message,
            (double)(client_now() - last_renewal) / (double)SECOND);
    snprintf(command, sizeof(command), "grep -E 'too long|slow fdatasync|overloaded' %s/log | tail -5 >&2",
             server.folder);
    if (system(command) != 0) fprintf(stderr, "(none)\n");
}

static void a_lease_lives_as_long_as_it_is_kept_alive(void **state)
{
    (void)state;
    server_new();
    struct blocking_client *blocking = connect_to_server();
    int64_t lease = grant(blocking, 5);
    expect_success(try_put(blocking, "leased", "v", lease, 5 * SECOND, NULL));
    struct blocking_inbox *inbox = blocking_inbox_new(blocking);
    struct blocking_source *source = blocking_keep_alive(inbox, lease, NULL);
    int64_t until = client_deadline_after(12 * SECOND), last_renewal = client_now();
    struct blocking_event event;
    unsigned renewals = 0;
    while (blocking_next(inbox, until, &event) == BLOCKING_EVENT) {
        if (event.kind == CLIENT_EVENT_END) explain_lost_lease(&event, last_renewal);
        assert_int_equal(event.kind, CLIENT_EVENT_MESSAGE);
        last_renewal = client_now();
        renewals++;
        blocking_event_deinit(&event);
    }
    assert_in_range(renewals, 5, 12);
    assert_int_equal(count_of(blocking, "leased"), 1);
    blocking_source_cancel(source);
    assert_int_equal(blocking_next(inbox, client_deadline_after(SECOND), &event), BLOCKING_EVENT);
    assert_int_equal(event.kind, CLIENT_EVENT_END);
    blocking_event_deinit(&event);
    expect_success(blocking_keep_alive_once(blocking, lease, NULL, NULL, NULL));
    int64_t give_up = client_deadline_after(15 * SECOND);
    while (count_of(blocking, "leased") == 1 && client_now() < give_up) usleep(200000);
    assert_int_equal(count_of(blocking, "leased"), 0);
    expect_error(blocking_keep_alive_once(blocking, lease, NULL, NULL, NULL),
                 "etcdserver: requested lease not found");
    blocking_keep_alive(inbox, lease, NULL);
    assert_int_equal(blocking_next(inbox, client_deadline_after(5 * SECOND), &event), BLOCKING_EVENT);
    assert_int_equal(event.kind, CLIENT_EVENT_END);
    assert_true(client_error_is(event.error, API_ERROR_LEASE_NOT_FOUND));
    blocking_event_deinit(&event);
    blocking_inbox_free(inbox);
    blocking_free(blocking);
}

static void a_dead_endpoint_does_not_matter_beside_a_live_one(void **state)
{
    (void)state;
    char dead[40];
    server_new();
    snprintf(dead, sizeof(dead), "127.0.0.1:%d", free_port());
    const char *endpoints[] = {dead, server.endpoint};
    struct blocking_client *blocking = connect_as(endpoints, 2, NULL);
    for (int i = 0; i < 20; i++) put(blocking, "k", "v");
    assert_int_equal(count_of(blocking, "k"), 1);
    blocking_free(blocking);
}

static void a_dead_endpoint_alone_runs_into_the_deadline(void **state)
{
    (void)state;
    char dead[40];
    snprintf(dead, sizeof(dead), "127.0.0.1:%d", free_port());
    const char *endpoints[] = {dead};
    struct blocking_client *blocking = connect_as(endpoints, 1, NULL);
    int64_t begin = client_now();
    expect_error(try_put(blocking, "k", "v", 0, SECOND, NULL), "context deadline exceeded");
    assert_in_range(client_now() - begin, SECOND, 3 * SECOND);
    blocking_free(blocking);
}

static void *interrupt_soon(void *blocking)
{
    usleep(300000);
    blocking_interrupt((struct blocking_client *)blocking);
    return NULL;
}

static void an_interrupt_ends_what_waits(void **state)
{
    (void)state;
    char dead[40];
    snprintf(dead, sizeof(dead), "127.0.0.1:%d", free_port());
    const char *endpoints[] = {dead};
    struct blocking_client *blocking = connect_as(endpoints, 1, NULL);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, blocking), 0);
    expect_error(try_put(blocking, "k", "v", 0, 60 * SECOND, NULL), "context canceled");
    pthread_join(thread, NULL);
    struct blocking_inbox *inbox = blocking_inbox_new(blocking);
    struct blocking_event event;
    assert_int_equal(blocking_next(inbox, 0, &event), BLOCKING_INTERRUPTED);
    blocking_clear_interrupt(blocking);
    assert_int_equal(blocking_next(inbox, client_now(), &event), BLOCKING_TIMEOUT);
    blocking_inbox_free(inbox);
    blocking_free(blocking);
}

static void enable_auth(struct blocking_client *blocking)
{
    char root[] = "root", password[] = "secret";
    Etcdserverpb__AuthUserAddRequest user = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
    user.name = root;
    user.password = password;
    call(blocking, CLIENT_USER_ADD, &user.base);
    Etcdserverpb__AuthRoleAddRequest role = ETCDSERVERPB__AUTH_ROLE_ADD_REQUEST__INIT;
    role.name = root;
    call(blocking, CLIENT_ROLE_ADD, &role.base);
    Etcdserverpb__AuthUserGrantRoleRequest grant_role = ETCDSERVERPB__AUTH_USER_GRANT_ROLE_REQUEST__INIT;
    grant_role.user = root;
    grant_role.role = root;
    call(blocking, CLIENT_USER_GRANT_ROLE, &grant_role.base);
    Etcdserverpb__AuthEnableRequest enable = ETCDSERVERPB__AUTH_ENABLE_REQUEST__INIT;
    call(blocking, CLIENT_AUTH_ENABLE, &enable.base);
}

static void an_expired_token_is_renewed_unseen(void **state)
{
    (void)state;
    server_new();
    const char *endpoint = server.endpoint;
    struct blocking_client *anonymous = connect_to_server(), *early = connect_as(&endpoint, 1, "root");
    enable_auth(anonymous);
    put(early, "k", "v"); /* connected before there was auth */
    struct blocking_client *root = connect_as(&endpoint, 1, "root");
    put(root, "k", "v");
    sleep(4);
    put(root, "k", "v");
    struct blocking_inbox *inbox = blocking_inbox_new(root);
    sleep(4);
    struct client_watch_options options = {.key = BYTES_LITERAL("k"), .start_revision = 2};
    blocking_watch(inbox, &options, NULL); /* with the expired token */
    expect_events(inbox, 2, 3);
    expect_error(try_put(anonymous, "k", "v", 0, 5 * SECOND, NULL), "etcdserver: user name is empty");
    blocking_inbox_free(inbox);
    blocking_free(anonymous);
    blocking_free(early);
    blocking_free(root);

    struct client_options wrong = {.endpoints = &endpoint,
                                   .endpoint_count = 1,
                                   .user = "root",
                                   .password = "wrong",
                                   .dial_timeout = 5 * SECOND};
    struct blocking_client *none = NULL;
    struct client_error *login_error = NULL;
    assert_null(blocking_new(&wrong, &none, &login_error));
    assert_null(none);
    expect_error(login_error, "etcdserver: authentication failed, invalid user ID or password");
}

static void a_snapshot_comes_in_whole(void **state)
{
    (void)state;
    server_new();
    struct blocking_client *blocking = connect_to_server();
    put(blocking, "k", "v");
    struct blocking_inbox *inbox = blocking_inbox_new(blocking);
    Etcdserverpb__SnapshotRequest request = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;
    blocking_stream(inbox, CLIENT_SNAPSHOT, &request.base, NULL, NULL);
    uint64_t size = 0, announced = 0;
    struct blocking_event event;
    for (;;) {
        assert_int_equal(blocking_next(inbox, client_deadline_after(10 * SECOND), &event), BLOCKING_EVENT);
        if (event.kind == CLIENT_EVENT_END) break;
        const Etcdserverpb__SnapshotResponse *part = (const Etcdserverpb__SnapshotResponse *)event.response;
        if (size == 0) announced = part->remaining_bytes + part->blob.len;
        size += part->blob.len;
        blocking_event_deinit(&event);
    }
    assert_null(event.error);
    blocking_event_deinit(&event);
    assert_int_equal(size, announced + 32); /* and the SHA-256 of it */
    blocking_inbox_free(inbox);
    blocking_free(blocking);
}

/* ---- Recipes ---- */

struct contender {
    struct blocking_client *blocking;
    _Atomic int *inside;
    int rounds;
    bool clashed;
};

static void *contend(void *context)
{
    struct contender *contender = (struct contender *)context;
    struct recipe_session *session = NULL;
    expect_success(recipe_session_new(contender->blocking, 10, &session));
    for (int i = 0; i < contender->rounds; i++) {
        struct recipe_hold hold = {0};
        expect_success(recipe_lock(session, "lock", &hold));
        if (++*contender->inside != 1) contender->clashed = true;
        usleep(5000);
        --*contender->inside;
        expect_success(recipe_unlock(session, &hold));
        recipe_hold_deinit(&hold);
    }
    assert_false(recipe_session_is_lost(session));
    recipe_session_free(session);
    return NULL;
}

static void a_lock_has_one_holder_at_a_time(void **state)
{
    (void)state;
    enum { CONTENDERS = 3 };
    struct contender contenders[CONTENDERS];
    pthread_t threads[CONTENDERS];
    _Atomic int inside = 0;
    server_new();
    for (int i = 0; i < CONTENDERS; i++) {
        contenders[i] = (struct contender){.blocking = connect_to_server(), .inside = &inside, .rounds = 5};
        assert_int_equal(pthread_create(&threads[i], NULL, contend, &contenders[i]), 0);
    }
    for (int i = 0; i < CONTENDERS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(contenders[i].clashed);
        blocking_free(contenders[i].blocking);
    }
}

static void an_interrupted_lock_leaves_no_key(void **state)
{
    (void)state;
    server_new();
    struct blocking_client *holder = connect_to_server(), *waiter = connect_to_server();
    struct recipe_session *first = NULL, *second = NULL;
    struct recipe_hold held = {0}, waiting = {0};
    expect_success(recipe_session_new(holder, 10, &first));
    expect_success(recipe_session_new(waiter, 10, &second));
    expect_success(recipe_lock(first, "lock", &held));
    struct recipe_hold again = {0};
    expect_success(recipe_lock(first, "lock", &again)); /* by the same lease: at once */
    assert_int_equal(again.revision, held.revision);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, waiter), 0);
    expect_error(recipe_lock(second, "lock", &waiting), "context canceled");
    pthread_join(thread, NULL);
    struct buf key = {0};
    buf_append_bytes(&key, buf_bytes(&waiting.key));
    assert_int_equal(count_of(holder, buf_string(&key)), 0);
    buf_clear(&key);
    buf_append_bytes(&key, buf_bytes(&held.key));
    assert_int_equal(count_of(holder, buf_string(&key)), 1);
    buf_deinit(&key);
    recipe_hold_deinit(&held);
    recipe_hold_deinit(&again);
    recipe_hold_deinit(&waiting);
    recipe_session_free(first);
    recipe_session_free(second);
    blocking_free(holder);
    blocking_free(waiter);
}

struct observed {
    char values[8][16];
    atomic_size_t count; /* read by the test while the observer's thread goes on */
    size_t wanted;
};

/* The observer tells states, not history: each must have been seen before the next one comes. */
static void wait_until_seen(struct observed *observed, size_t count)
{
    for (int i = 0; i < 3000 && atomic_load(&observed->count) < count; i++) usleep(10000);
    assert_true(atomic_load(&observed->count) >= count);
}

static bool on_leader(void *context, const Etcdserverpb__RangeResponse *response)
{
    struct observed *observed = (struct observed *)context;
    struct bytes value = message_bytes(response->kvs[0]->value);
    size_t count = atomic_load(&observed->count);
    snprintf(observed->values[count], sizeof(observed->values[0]), "%.*s", (int)value.size,
             (const char *)value.data);
    atomic_store(&observed->count, count + 1);
    return count + 1 < observed->wanted;
}

struct observer {
    struct blocking_client *blocking;
    struct observed observed;
};

static void *observe(void *context)
{
    struct observer *observer = (struct observer *)context;
    expect_success(recipe_observe(observer->blocking, "election", on_leader, &observer->observed));
    return NULL;
}

static void an_election_passes_from_leader_to_leader(void **state)
{
    (void)state;
    server_new();
    struct blocking_client *blocking = connect_to_server();
    struct observer observer = {.blocking = connect_to_server(), .observed = {.wanted = 3}};
    struct arena *arena = arena_new();
    Etcdserverpb__RangeResponse *leader = NULL;
    expect_error(recipe_leader(blocking, "election", arena, &leader), "election: no leader");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, observe, &observer), 0);
    struct recipe_session *first = NULL, *second = NULL;
    struct recipe_hold one = {0}, two = {0};
    expect_success(recipe_session_new(blocking, 10, &first));
    expect_success(recipe_session_new(blocking, 10, &second));
    expect_success(recipe_campaign(first, "election", BYTES_LITERAL("one"), &one));
    wait_until_seen(&observer.observed, 1);
    expect_success(recipe_proclaim(first, &one, BYTES_LITERAL("one again")));
    expect_success(recipe_leader(blocking, "election", arena, &leader));
    assert_true(bytes_equal(message_bytes(leader->kvs[0]->value), BYTES_LITERAL("one again")));
    wait_until_seen(&observer.observed, 2);
    expect_success(recipe_resign(first, &one));
    expect_error(recipe_proclaim(first, &one, BYTES_LITERAL("late")), "election: not leader");
    expect_success(recipe_campaign(second, "election", BYTES_LITERAL("two"), &two));
    pthread_join(thread, NULL);
    assert_string_equal(observer.observed.values[0], "one");
    assert_string_equal(observer.observed.values[1], "one again");
    assert_string_equal(observer.observed.values[2], "two");
    recipe_hold_deinit(&one);
    recipe_hold_deinit(&two);
    recipe_session_free(first);
    recipe_session_free(second);
    blocking_free(observer.blocking);
    blocking_free(blocking);
    arena_free(arena);
}

int main(void)
{
    programs = getenv("ETCD35_BIN");
    if (programs == NULL || programs[0] == 0) {
        printf("skipped: ETCD35_BIN does not name the folder of etcd 3.5's programs\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_is_put_is_got, server_free),
        cmocka_unit_test_teardown(a_large_value_comes_back_whole, server_free),
        cmocka_unit_test_teardown(a_watch_lives_through_restarts_without_loss_or_repetition, server_free),
        cmocka_unit_test_teardown(reads_live_through_a_restart, server_free),
        cmocka_unit_test_teardown(a_watch_below_the_compaction_ends, server_free),
        cmocka_unit_test_teardown(progress_is_told_when_asked_for, server_free),
        cmocka_unit_test_teardown(a_lease_lives_as_long_as_it_is_kept_alive, server_free),
        cmocka_unit_test_teardown(a_dead_endpoint_does_not_matter_beside_a_live_one, server_free),
        cmocka_unit_test_teardown(a_dead_endpoint_alone_runs_into_the_deadline, server_free),
        cmocka_unit_test_teardown(an_interrupt_ends_what_waits, server_free),
        cmocka_unit_test_teardown(an_expired_token_is_renewed_unseen, server_free),
        cmocka_unit_test_teardown(a_snapshot_comes_in_whole, server_free),
        cmocka_unit_test_teardown(a_lock_has_one_holder_at_a_time, server_free),
        cmocka_unit_test_teardown(an_interrupted_lock_leaves_no_key, server_free),
        cmocka_unit_test_teardown(an_election_passes_from_leader_to_leader, server_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
