/* Watches and keep-alives of the client, against a fake network: nothing lost, nothing twice, each ends once.
 */
#include "client/client.h"
#include "tests/client/fake_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "rpc.pb-c.h"

#define WATCH        "/etcdserverpb.Watch/Watch"
#define KEEP_ALIVE   "/etcdserverpb.Lease/LeaseKeepAlive"
#define AUTHENTICATE "/etcdserverpb.Auth/Authenticate"

static struct loop *loop;
static struct client *client;
static struct arena *arena;

static void start_client(const char *user)
{
    static const char *const endpoints[] = {"a:1"};
    struct client_options options = {.endpoints = endpoints,
                                     .endpoint_count = 1,
                                     .user = user,
                                     .password = user == NULL ? NULL : "secret",
                                     .seed = 1};
    loop = fake_loop_new();
    arena = arena_new();
    assert_null(client_new(loop, &options, &client));
    fake_up(fake_channel("a:1"));
}

static void stop_client(void)
{
    client_free(client);
    fake_loop_free(loop);
    arena_free(arena);
}

/* ---- What a watch saw ---- */

enum { REVISIONS_MAX = 32 };

struct seen {
    int64_t revisions[REVISIONS_MAX]; /* of the events, in order */
    size_t count;
    unsigned messages, created, progress, canceled, ends;
    int64_t compact_revision;
    char text[200]; /* END's error */
    struct client_watch *cancel_at_event;
};

static void on_event(void *context, struct client_event *event)
{
    struct seen *seen = (struct seen *)context;
    assert_int_equal(seen->ends, 0); /* END is the last */
    if (event->kind == CLIENT_EVENT_END) {
        struct buf text = {0};
        seen->ends++;
        if (event->error != NULL) client_error_format(&text, event->error);
        snprintf(seen->text, sizeof(seen->text), "%s", buf_string(&text));
        buf_deinit(&text);
        return;
    }
    const Etcdserverpb__WatchResponse *response = (const Etcdserverpb__WatchResponse *)event->response;
    seen->messages++;
    seen->created += response->created != 0;
    seen->canceled += response->canceled != 0;
    seen->progress += !response->created && !response->canceled && response->n_events == 0;
    seen->compact_revision = response->compact_revision;
    for (size_t i = 0; i < response->n_events; i++) {
        assert_true(seen->count < REVISIONS_MAX);
        seen->revisions[seen->count++] = response->events[i]->kv->mod_revision;
    }
    if (seen->cancel_at_event != NULL) client_watch_cancel(seen->cancel_at_event);
}

static struct client_watch *start_watch(int64_t start_revision, struct seen *seen)
{
    struct client_watch_options options = {.key = BYTES_LITERAL("k"), .start_revision = start_revision};
    return client_watch_start(client, &options, on_event, seen);
}

static void expect_revisions(const struct seen *seen, const int64_t *revisions, size_t count)
{
    assert_int_equal(seen->count, count);
    for (size_t i = 0; i < count; i++) assert_int_equal(seen->revisions[i], revisions[i]);
}

#define EXPECT_REVISIONS(seen, ...)                                                                          \
    expect_revisions(seen, (const int64_t[]){__VA_ARGS__},                                                   \
                     sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* ---- The server's part ---- */

static struct grpc_client_call *watch_call(void)
{
    struct grpc_client_call *call = fake_open_call(WATCH);
    assert_non_null(call);
    return call;
}

static const Etcdserverpb__WatchRequest *take_request(void)
{
    return (const Etcdserverpb__WatchRequest *)fake_take_sent(watch_call(),
                                                              &etcdserverpb__watch_request__descriptor,
                                                              arena);
}

/* The next request must be a create; its start revision. */
static int64_t take_create(void)
{
    const Etcdserverpb__WatchRequest *request = take_request();
    assert_non_null(request);
    assert_int_equal(request->request_union_case, ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST);
    return request->create_request->start_revision;
}

static void send_response(int64_t id, int64_t revision, const Etcdserverpb__WatchResponse *what)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__WatchResponse response = *what;
    header.revision = revision;
    response.header = &header;
    response.watch_id = id;
    fake_send(watch_call(), &response.base);
}

static void send_created(int64_t id, int64_t revision)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    response.created = 1;
    send_response(id, revision, &response);
}

static void send_refused(char *reason)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    response.created = 1;
    response.canceled = 1;
    response.cancel_reason = reason;
    send_response(-1, 10, &response);
}

static void send_events(int64_t id, int64_t header_revision, bool fragment, const int64_t *revisions,
                        size_t count)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    Mvccpb__Event events[8], *pointers[8];
    Mvccpb__KeyValue kvs[8];
    for (size_t i = 0; i < count; i++) {
        kvs[i] = (Mvccpb__KeyValue)MVCCPB__KEY_VALUE__INIT;
        kvs[i].mod_revision = revisions[i];
        events[i] = (Mvccpb__Event)MVCCPB__EVENT__INIT;
        events[i].kv = &kvs[i];
        pointers[i] = &events[i];
    }
    response.events = pointers;
    response.n_events = count;
    response.fragment = fragment;
    send_response(id, header_revision, &response);
}

#define SEND_EVENTS(id, header_revision, fragment, ...)                                                      \
    send_events(id, header_revision, fragment, (const int64_t[]){__VA_ARGS__},                               \
                sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static void send_progress(int64_t id, int64_t revision)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    send_response(id, revision, &response);
}

static void break_connection(void)
{
    fake_down(fake_channel("a:1"));
    fake_advance(loop, LOOP_SECOND);
    assert_null(fake_open_call(WATCH));
    fake_up(fake_channel("a:1"));
    fake_advance(loop, LOOP_SECOND);
}

/* ---- Watches ---- */

static void a_watch_delivers_events_and_ends_when_canceled(void **state)
{
    (void)state;
    struct seen seen = {0};
    start_client(NULL);
    struct client_watch *watch = start_watch(0, &seen);
    assert_string_equal(fake_call_metadata(watch_call(), "hasleader"), "true");
    assert_int_equal(take_create(), 0);
    send_created(0, 10);
    SEND_EVENTS(0, 12, false, 11, 12);
    EXPECT_REVISIONS(&seen, 11, 12);
    assert_int_equal(seen.created, 0); /* not asked for */
    client_watch_cancel(watch);
    assert_int_equal(seen.ends, 0);
    fake_advance(loop, 0);
    assert_int_equal(seen.ends, 1);
    assert_string_equal(seen.text, "context canceled");
    assert_null(fake_open_call(WATCH)); /* nobody watches: no stream */
    stop_client();
}

static void a_broken_stream_goes_on_behind_the_last_event(void **state)
{
    (void)state;
    struct seen seen = {0};
    start_client(NULL);
    start_watch(0, &seen);
    take_create();
    send_created(0, 10);
    SEND_EVENTS(0, 12, false, 11, 12);
    break_connection();
    assert_int_equal(take_create(), 13);
    send_created(0, 20);
    SEND_EVENTS(0, 20, false, 13, 15);
    /* Still catching up: the header is ahead of what was sent. */
    break_connection();
    assert_int_equal(take_create(), 16);
    stop_client();
    EXPECT_REVISIONS(&seen, 11, 12, 13, 15);
    assert_int_equal(seen.ends, 1);
}

static void a_watch_from_now_goes_on_from_when_it_was_created(void **state)
{
    (void)state;
    struct seen seen = {0};
    start_client(NULL);
    start_watch(0, &seen);
    take_create();
    send_created(0, 10);
    break_connection();
    assert_int_equal(take_create(), 11);
    break_connection(); /* before it was created again */
    assert_int_equal(take_create(), 11);
    stop_client();
}

static void a_watch_that_was_never_created_still_starts_from_now(void **state)
{
    (void)state;
    struct seen seen = {0};
    start_client(NULL);
    start_watch(0, &seen);
    take_create();
    break_connection();
    assert_int_equal(take_create(), 0);
    stop_client();
}

static void a_watch_into_the_future_keeps_its_start(void **state)
{
    (void)state;
    struct seen seen = {0};
    start_client(NULL);
    start_watch(100, &seen);
    take_create();
    send_created(0, 10);
    send_progress(0, 50);
    break_connection();
    assert_int_equal(take_create(), 100);
    stop_client();
}

static void events_seen_before_are_dropped(void **state)
{
    (void)state;
    struct seen seen = {0};
    start_client(NULL);
    start_watch(5, &seen);
    take_create();
    send_created(0, 10);
    SEND_EVENTS(0, 10, false, 6, 7);
    SEND_EVENTS(0, 10, false, 6, 7);
    EXPECT_REVISIONS(&seen, 6, 7);
    stop_client();
}

static void progress_moves_the_place_to_go_on_from(void **state)
{
    (void)state;
    struct seen one = {0}, two = {0};
    start_client(NULL);
    start_watch(0, &one);
    start_watch(0, &two);
    take_create();
    take_create();
    send_created(0, 10);
    send_created(1, 10);
    client_watch_request_progress(client);
    assert_int_equal(take_request()->request_union_case,
                     ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST);
    send_progress(-1, 30);
    send_progress(1, 40);
    assert_int_equal(one.progress, 1);
    assert_int_equal(two.progress, 2);
    break_connection();
    assert_int_equal(take_create(), 31);
    assert_int_equal(take_create(), 41);
    stop_client();
}

static void responses_find_their_watch_by_the_order_of_creation_and_then_by_id(void **state)
{
    (void)state;
    struct seen refused = {0}, live = {0};
    char reason[] = "etcdserver: mvcc: watcher range is empty";
    start_client(NULL);
    start_watch(0, &refused);
    start_watch(0, &live);
    send_refused(reason);
    send_created(0, 10);
    SEND_EVENTS(0, 11, false, 11);
    SEND_EVENTS(7, 12, false, 12); /* nobody's */
    fake_advance(loop, 0);
    assert_int_equal(refused.ends, 1);
    assert_int_equal(refused.canceled, 1);
    assert_non_null(strstr(refused.text, "watcher range is empty"));
    EXPECT_REVISIONS(&live, 11);
    assert_int_equal(live.ends, 0);
    stop_client();
}

static void a_watch_canceled_before_it_was_created_is_canceled_at_the_server(void **state)
{
    (void)state;
    struct seen early = {0}, other = {0};
    start_client(NULL);
    struct client_watch *watch = start_watch(0, &early);
    start_watch(0, &other);
    take_create();
    take_create();
    client_watch_cancel(watch);
    fake_advance(loop, 0);
    assert_int_equal(early.ends, 1);
    send_created(0, 10);
    const Etcdserverpb__WatchRequest *request = take_request();
    assert_int_equal(request->request_union_case, ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST);
    assert_int_equal(request->cancel_request->watch_id, 0);
    send_created(1, 10);
    SEND_EVENTS(0, 11, false, 11);
    SEND_EVENTS(1, 11, false, 11);
    EXPECT_REVISIONS(&other, 11);
    stop_client();
}

static void a_handler_may_cancel_its_own_watch(void **state)
{
    (void)state;
    struct seen seen = {0};
    start_client(NULL);
    seen.cancel_at_event = start_watch(0, &seen);
    send_created(0, 10);
    SEND_EVENTS(0, 11, false, 11);
    SEND_EVENTS(0, 12, false, 12);
    fake_advance(loop, 0);
    EXPECT_REVISIONS(&seen, 11);
    assert_int_equal(seen.ends, 1);
    stop_client();
}

static void a_compacted_watch_ends_with_the_revision_it_may_start_from(void **state)
{
    (void)state;
    struct seen seen = {0};
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    start_client(NULL);
    start_watch(3, &seen);
    send_created(0, 10);
    response.canceled = 1;
    response.compact_revision = 8;
    send_response(0, 0, &response);
    fake_advance(loop, 0);
    assert_int_equal(seen.canceled, 1);
    assert_int_equal(seen.compact_revision, 8);
    assert_string_equal(seen.text, "etcdserver: mvcc: required revision has been compacted");
    stop_client();
}

static void fragments_come_put_together(void **state)
{
    (void)state;
    struct seen seen = {0};
    start_client(NULL);
    start_watch(0, &seen);
    send_created(0, 10);
    SEND_EVENTS(0, 12, true, 11);
    SEND_EVENTS(0, 12, true, 12);
    assert_int_equal(seen.messages, 0);
    SEND_EVENTS(0, 12, false, 12);
    assert_int_equal(seen.messages, 1);
    EXPECT_REVISIONS(&seen, 11, 12, 12);
    SEND_EVENTS(0, 13, true, 13);
    take_create();
    break_connection(); /* half a message is none */
    assert_int_equal(take_create(), 13);
    send_created(0, 13);
    SEND_EVENTS(0, 13, false, 13);
    EXPECT_REVISIONS(&seen, 11, 12, 12, 13);
    stop_client();
}

static void losing_the_leader_ends_all_watches(void **state)
{
    (void)state;
    struct seen one = {0}, two = {0};
    start_client(NULL);
    start_watch(0, &one);
    start_watch(0, &two);
    fake_close(watch_call(), GRPC_UNAVAILABLE, "etcdserver: no leader");
    fake_advance(loop, LOOP_SECOND);
    assert_string_equal(one.text, "etcdserver: no leader");
    assert_string_equal(two.text, "etcdserver: no leader");
    assert_null(fake_open_call(WATCH));
    stop_client();
}

static void an_internal_error_is_a_broken_stream(void **state)
{
    (void)state;
    struct seen seen = {0};
    start_client(NULL);
    start_watch(4, &seen);
    take_create();
    fake_close(watch_call(), GRPC_INTERNAL, "stream terminated by RST_STREAM");
    fake_advance(loop, 10 * LOOP_MILLISECOND);
    assert_int_equal(take_create(), 4);
    assert_int_equal(seen.ends, 0);
    stop_client();
}

static void send_token(char *token)
{
    Etcdserverpb__AuthenticateResponse response = ETCDSERVERPB__AUTHENTICATE_RESPONSE__INIT;
    response.token = token;
    assert_non_null(fake_open_call(AUTHENTICATE));
    fake_answer(fake_open_call(AUTHENTICATE), &response.base);
}

static void a_watch_refused_for_its_token_logs_in_again(void **state)
{
    (void)state;
    struct seen seen = {0};
    char first[] = "t1", second[] = "t2";
    char reason[] = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
    start_client("root");
    start_watch(4, &seen);
    send_token(first);
    take_create();
    send_refused(reason);
    fake_advance(loop, LOOP_SECOND);
    send_token(second);
    assert_string_equal(fake_call_metadata(watch_call(), "token"), "t2");
    assert_int_equal(take_create(), 4);
    assert_int_equal(seen.messages + seen.ends, 0);
    for (int i = 0; i < 2; i++) {
        send_refused(reason);
        fake_advance(loop, LOOP_SECOND);
        send_token(second);
        take_create();
    }
    send_refused(reason);
    fake_advance(loop, LOOP_SECOND);
    assert_int_equal(seen.ends, 1);
    assert_string_equal(seen.text, "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token");
    stop_client();
}

static void a_paused_watch_holds_the_stream_back(void **state)
{
    (void)state;
    struct seen seen = {0};
    start_client(NULL);
    struct client_watch *watch = start_watch(0, &seen);
    client_watch_pause(watch);
    assert_true(fake_call_is_paused(watch_call()));
    client_watch_pause(watch);
    client_watch_resume(watch);
    assert_false(fake_call_is_paused(watch_call()));
    client_watch_pause(watch);
    break_connection();
    assert_true(fake_call_is_paused(watch_call()));
    stop_client();
}

static void filters_and_options_reach_the_server(void **state)
{
    (void)state;
    struct seen seen = {0};
    start_client(NULL);
    struct client_watch_options options = {.key = BYTES_LITERAL("a"),
                                           .range_end = BYTES_LITERAL("b"),
                                           .progress_notify = true,
                                           .prev_kv = true,
                                           .no_delete = true,
                                           .fragment = true,
                                           .created_notify = true};
    client_watch_start(client, &options, on_event, &seen);
    const Etcdserverpb__WatchCreateRequest *create = take_request()->create_request;
    assert_true(bytes_equal(message_bytes(create->range_end), BYTES_LITERAL("b")));
    assert_true(create->progress_notify && create->prev_kv && create->fragment);
    assert_int_equal(create->n_filters, 1);
    assert_int_equal(create->filters[0], ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE);
    send_created(0, 10);
    assert_int_equal(seen.created, 1);
    break_connection();
    send_created(0, 10);
    assert_int_equal(seen.created, 1); /* told once */
    stop_client();
}

/* ---- Keep-alives ---- */

struct renewals {
    unsigned count, ends;
    enum api_error known;
};

static void on_renewal(void *context, struct client_event *event)
{
    struct renewals *renewals = (struct renewals *)context;
    assert_int_equal(renewals->ends, 0);
    if (event->kind == CLIENT_EVENT_MESSAGE) {
        renewals->count++;
        return;
    }
    renewals->ends++;
    renewals->known = event->error->known;
}

static int64_t take_renewal(void)
{
    struct grpc_client_call *call = fake_open_call(KEEP_ALIVE);
    assert_non_null(call);
    const Etcdserverpb__LeaseKeepAliveRequest *request = (const Etcdserverpb__LeaseKeepAliveRequest *)
        fake_take_sent(call, &etcdserverpb__lease_keep_alive_request__descriptor, arena);
    return request == NULL ? 0 : request->id;
}

static void send_renewed(int64_t lease, int64_t ttl)
{
    Etcdserverpb__LeaseKeepAliveResponse response = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
    response.id = lease;
    response.ttl = ttl;
    fake_send(fake_open_call(KEEP_ALIVE), &response.base);
}

static void a_lease_is_renewed_after_a_third_of_its_ttl(void **state)
{
    (void)state;
    struct renewals renewals = {0};
    start_client(NULL);
    client_keep_alive_start(client, 7, on_renewal, &renewals);
    assert_int_equal(take_renewal(), 7);
    send_renewed(7, 30);
    assert_int_equal(renewals.count, 1);
    fake_advance(loop, 10 * LOOP_SECOND - 1);
    assert_int_equal(take_renewal(), 0);
    fake_advance(loop, 1);
    assert_int_equal(take_renewal(), 7);
    send_renewed(7, 30);
    assert_int_equal(renewals.count, 2);
    stop_client();
    assert_int_equal(renewals.known, API_ERROR_CONTEXT_CANCELED);
}

static void a_lease_that_is_gone_ends_its_keep_alive(void **state)
{
    (void)state;
    struct renewals gone = {0}, other = {0};
    start_client(NULL);
    client_keep_alive_start(client, 7, on_renewal, &gone);
    client_keep_alive_start(client, 8, on_renewal, &other);
    send_renewed(7, 0);
    send_renewed(8, 30);
    fake_advance(loop, 0);
    assert_int_equal(gone.ends, 1);
    assert_int_equal(gone.known, API_ERROR_LEASE_NOT_FOUND);
    assert_int_equal(other.ends, 0);
    stop_client();
}

static void renewals_go_on_after_a_broken_stream(void **state)
{
    (void)state;
    struct renewals renewals = {0};
    start_client(NULL);
    client_keep_alive_start(client, 7, on_renewal, &renewals);
    take_renewal();
    send_renewed(7, 30);
    fake_down(fake_channel("a:1"));
    fake_advance(loop, 5 * LOOP_SECOND);
    fake_up(fake_channel("a:1"));
    fake_advance(loop, LOOP_SECOND);
    assert_int_equal(take_renewal(), 7);
    send_renewed(7, 30);
    assert_int_equal(renewals.count, 2);
    stop_client();
}

static void a_lease_nobody_answers_for_is_lost_after_its_ttl(void **state)
{
    (void)state;
    struct renewals renewals = {0}, unanswered = {0};
    start_client(NULL);
    client_keep_alive_start(client, 7, on_renewal, &renewals);
    send_renewed(7, 30);
    client_keep_alive_start(client, 8, on_renewal, &unanswered);
    fake_advance(loop, 3 * LOOP_SECOND);
    assert_int_equal(unanswered.ends, 1); /* the dial timeout and a second */
    fake_down(fake_channel("a:1"));
    fake_advance(loop, 27 * LOOP_SECOND - 1);
    assert_int_equal(renewals.ends, 0);
    fake_advance(loop, 1);
    assert_int_equal(renewals.ends, 1);
    assert_int_equal(renewals.known, API_ERROR_LEASE_NOT_FOUND);
    stop_client();
}

static void a_canceled_keep_alive_lets_the_stream_go(void **state)
{
    (void)state;
    struct renewals renewals = {0};
    start_client(NULL);
    struct client_keep_alive *keep_alive = client_keep_alive_start(client, 7, on_renewal, &renewals);
    send_renewed(7, 30);
    client_keep_alive_cancel(keep_alive);
    assert_int_equal(renewals.ends, 0);
    fake_advance(loop, 0);
    assert_int_equal(renewals.known, API_ERROR_CONTEXT_CANCELED);
    assert_null(fake_open_call(KEEP_ALIVE));
    stop_client();
}

static void on_once(void *context, struct client_reply *reply)
{
    struct renewals *renewals = (struct renewals *)context;
    renewals->ends++;
    if (reply->error == NULL) renewals->count++;
    if (reply->error != NULL) renewals->known = reply->error->known;
}

static void one_renewal_answers_and_closes_its_stream(void **state)
{
    (void)state;
    struct renewals alive = {0}, gone = {0}, canceled = {0};
    start_client(NULL);
    client_keep_alive_once(client, 7, NULL, on_once, &alive);
    fake_close(fake_open_call(KEEP_ALIVE), GRPC_UNAVAILABLE, "etcdserver: no leader");
    fake_advance(loop, LOOP_SECOND);
    assert_int_equal(take_renewal(), 7);
    send_renewed(7, 30);
    assert_int_equal(alive.count, 1);
    assert_int_equal(alive.ends, 1);
    assert_null(fake_open_call(KEEP_ALIVE));
    client_keep_alive_once(client, 8, NULL, on_once, &gone);
    send_renewed(8, 0);
    assert_int_equal(gone.known, API_ERROR_LEASE_NOT_FOUND);
    client_call_cancel(client_keep_alive_once(client, 9, NULL, on_once, &canceled));
    fake_advance(loop, 0);
    assert_int_equal(canceled.known, API_ERROR_CONTEXT_CANCELED);
    stop_client();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watch_delivers_events_and_ends_when_canceled),
        cmocka_unit_test(a_broken_stream_goes_on_behind_the_last_event),
        cmocka_unit_test(a_watch_from_now_goes_on_from_when_it_was_created),
        cmocka_unit_test(a_watch_that_was_never_created_still_starts_from_now),
        cmocka_unit_test(a_watch_into_the_future_keeps_its_start),
        cmocka_unit_test(events_seen_before_are_dropped),
        cmocka_unit_test(progress_moves_the_place_to_go_on_from),
        cmocka_unit_test(responses_find_their_watch_by_the_order_of_creation_and_then_by_id),
        cmocka_unit_test(a_watch_canceled_before_it_was_created_is_canceled_at_the_server),
        cmocka_unit_test(a_handler_may_cancel_its_own_watch),
        cmocka_unit_test(a_compacted_watch_ends_with_the_revision_it_may_start_from),
        cmocka_unit_test(fragments_come_put_together),
        cmocka_unit_test(losing_the_leader_ends_all_watches),
        cmocka_unit_test(an_internal_error_is_a_broken_stream),
        cmocka_unit_test(a_watch_refused_for_its_token_logs_in_again),
        cmocka_unit_test(a_paused_watch_holds_the_stream_back),
        cmocka_unit_test(filters_and_options_reach_the_server),
        cmocka_unit_test(a_lease_is_renewed_after_a_third_of_its_ttl),
        cmocka_unit_test(a_lease_that_is_gone_ends_its_keep_alive),
        cmocka_unit_test(renewals_go_on_after_a_broken_stream),
        cmocka_unit_test(a_lease_nobody_answers_for_is_lost_after_its_ttl),
        cmocka_unit_test(a_canceled_keep_alive_lets_the_stream_go),
        cmocka_unit_test(one_renewal_answers_and_closes_its_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
