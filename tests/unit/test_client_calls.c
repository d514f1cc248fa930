/* Unary calls and server streams of the client, against a fake network: where they go, what is repeated, how
 * they end. */
#include "client/client.h"
#include "tests/client/fake_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "rpc.pb-c.h"

#define RANGE        "/etcdserverpb.KV/Range"
#define PUT          "/etcdserverpb.KV/Put"
#define STATUS       "/etcdserverpb.Maintenance/Status"
#define AUTHENTICATE "/etcdserverpb.Auth/Authenticate"
#define SNAPSHOT     "/etcdserverpb.Maintenance/Snapshot"

static struct loop *loop;
static struct client *client;

/* What came of a call. */
struct outcome {
    unsigned times;
    enum grpc_code code;
    enum api_error known;
    char text[200];
    char endpoint[40];
    int64_t count; /* of a RangeResponse */
};

static void on_reply(void *context, struct client_reply *reply)
{
    struct outcome *outcome = (struct outcome *)context;
    outcome->times++;
    assert_true((reply->response == NULL) == (reply->error != NULL));
    if (reply->endpoint != NULL)
        snprintf(outcome->endpoint, sizeof(outcome->endpoint), "%s", reply->endpoint);
    if (reply->error != NULL) {
        struct buf text = {0};
        client_error_format(&text, reply->error);
        snprintf(outcome->text, sizeof(outcome->text), "%s", buf_string(&text));
        buf_deinit(&text);
        outcome->code = reply->error->code;
        outcome->known = reply->error->known;
    } else if (reply->response->descriptor == &etcdserverpb__range_response__descriptor) {
        outcome->count = ((const Etcdserverpb__RangeResponse *)reply->response)->count;
    }
}

static void start_client(const char *const *endpoints, size_t count, const char *user, const char *token)
{
    struct client_options options = {.endpoints = endpoints,
                                     .endpoint_count = count,
                                     .user = user,
                                     .password = user == NULL ? NULL : "secret",
                                     .token = token,
                                     .seed = 1};
    loop = fake_loop_new();
    assert_null(client_new(loop, &options, &client));
}

static void start_plain(size_t count)
{
    static const char *const endpoints[] = {"a:1", "b:1", "c:1"};
    start_client(endpoints, count, NULL, NULL);
}

static void stop_client(void)
{
    client_free(client);
    fake_loop_free(loop);
}

static struct client_call *start_range(const struct client_call_options *options, struct outcome *outcome)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = message_binary(BYTES_LITERAL("k"));
    return client_call(client, CLIENT_RANGE, &request.base, options, on_reply, outcome);
}

static struct client_call *start_put(struct outcome *outcome)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.key = message_binary(BYTES_LITERAL("k"));
    return client_call(client, CLIENT_PUT, &request.base, NULL, on_reply, outcome);
}

static void answer_range(int64_t count)
{
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    response.count = count;
    struct grpc_client_call *call = fake_open_call(RANGE);
    assert_non_null(call);
    fake_answer(call, &response.base);
}

static void a_call_waits_for_a_connection(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    start_plain(2);
    start_range(NULL, &outcome);
    fake_advance(loop, 60 * LOOP_SECOND);
    assert_null(fake_open_call(RANGE));
    fake_up(fake_channel("b:1"));
    assert_string_equal(fake_call_metadata(fake_open_call(RANGE), "client-api-version"), "3.6");
    assert_null(fake_call_metadata(fake_open_call(RANGE), "hasleader"));
    answer_range(7);
    assert_int_equal(outcome.times, 1);
    assert_int_equal(outcome.code, GRPC_OK);
    assert_int_equal(outcome.count, 7);
    assert_string_equal(outcome.endpoint, "b:1");
    stop_client();
}

static void calls_go_round_the_connections_that_are_up(void **state)
{
    (void)state;
    struct outcome outcomes[4] = {0};
    start_plain(3);
    fake_up(fake_channel("a:1"));
    fake_up(fake_channel("c:1"));
    for (size_t i = 0; i < 4; i++) {
        start_range(NULL, &outcomes[i]);
        answer_range(1);
    }
    assert_string_not_equal(outcomes[0].endpoint, outcomes[1].endpoint);
    assert_string_equal(outcomes[0].endpoint, outcomes[2].endpoint);
    assert_string_equal(outcomes[1].endpoint, outcomes[3].endpoint);
    stop_client();
}

static void a_deadline_ends_a_call_as_etcdctl_says_it(void **state)
{
    (void)state;
    struct outcome waiting = {0}, sent = {0}, at_once = {0};
    start_plain(1);
    struct client_call_options options = {.deadline = client_deadline_after(5 * LOOP_SECOND)};
    start_range(&options, &waiting);
    fake_advance(loop, 5 * LOOP_SECOND - 1);
    assert_int_equal(waiting.times, 0);
    fake_advance(loop, 1);
    assert_string_equal(waiting.text, "context deadline exceeded");

    fake_up(fake_channel("a:1"));
    options.deadline = client_deadline_after(LOOP_SECOND);
    start_range(&options, &sent);
    assert_non_null(fake_open_call(RANGE));
    fake_advance(loop, LOOP_SECOND);
    assert_string_equal(sent.text, "context deadline exceeded");
    assert_null(fake_open_call(RANGE));

    options.deadline = client_deadline_after(0);
    start_range(&options, &at_once);
    assert_int_equal(at_once.times, 0); /* never from inside */
    assert_null(fake_open_call(RANGE));
    fake_advance(loop, 0);
    assert_string_equal(at_once.text, "context deadline exceeded");
    stop_client();
}

static void a_deadline_the_server_reports_first_is_ours(void **state)
{
    (void)state;
    struct outcome ours = {0}, servers = {0};
    start_plain(1);
    fake_up(fake_channel("a:1"));
    struct client_call_options options = {.deadline = client_deadline_after(LOOP_SECOND)};
    start_range(&options, &ours);
    fake_advance(loop, LOOP_SECOND - LOOP_MILLISECOND);
    fake_close(fake_open_call(RANGE), GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
    assert_string_equal(ours.text, "context deadline exceeded");
    start_range(NULL, &servers);
    fake_close(fake_open_call(RANGE), GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
    assert_string_equal(servers.text, "rpc error: code = DeadlineExceeded desc = context deadline exceeded");
    stop_client();
}

static void a_read_is_repeated_while_unavailable(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    start_plain(2);
    fake_up(fake_channel("a:1"));
    fake_up(fake_channel("b:1"));
    start_range(NULL, &outcome);
    fake_close(fake_open_call(RANGE), GRPC_UNAVAILABLE, "etcdserver: leader changed");
    fake_advance(loop, 0);
    assert_non_null(fake_open_call(RANGE)); /* at once, elsewhere: not yet a majority's worth of attempts */
    assert_string_equal(fake_call_address(fake_open_call(RANGE)), "b:1");
    fake_close(fake_open_call(RANGE), GRPC_UNAVAILABLE, "etcdserver: leader changed");
    fake_advance(loop, 20 * LOOP_MILLISECOND);
    assert_null(fake_open_call(RANGE));
    fake_advance(loop, 8 * LOOP_MILLISECOND);
    answer_range(3);
    assert_int_equal(outcome.count, 3);
    assert_int_equal(outcome.times, 1);
    stop_client();
}

static void a_read_survives_a_broken_connection(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    start_plain(1);
    fake_up(fake_channel("a:1"));
    start_range(NULL, &outcome);
    fake_down(fake_channel("a:1"));
    fake_advance(loop, LOOP_SECOND);
    assert_int_equal(outcome.times, 0);
    fake_up(fake_channel("a:1"));
    answer_range(3);
    assert_int_equal(outcome.count, 3);
    stop_client();
}

static void repeating_has_a_limit(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    start_plain(1);
    fake_up(fake_channel("a:1"));
    start_range(NULL, &outcome);
    for (int i = 0; i < 1000 && outcome.times == 0; i++) {
        fake_close(fake_open_call(RANGE), GRPC_UNAVAILABLE, "etcdserver: no leader");
        fake_advance(loop, LOOP_SECOND);
    }
    assert_int_equal(fake_call_count(RANGE), CLIENT_ATTEMPTS_MAX);
    assert_string_equal(outcome.text, "etcdserver: no leader");
    assert_int_equal(outcome.known, API_ERROR_NO_LEADER);
    stop_client();
}

static void a_write_that_went_out_is_not_repeated(void **state)
{
    (void)state;
    struct outcome refused = {0}, lost = {0};
    start_plain(2);
    fake_up(fake_channel("a:1"));
    start_put(&refused);
    fake_close(fake_open_call(PUT), GRPC_UNAVAILABLE, "etcdserver: request timed out");
    assert_string_equal(refused.text, "etcdserver: request timed out");
    start_put(&lost);
    fake_down(fake_channel("a:1"));
    fake_advance(loop, LOOP_SECOND);
    assert_string_equal(lost.text, "rpc error: code = Unavailable desc = connection lost");
    assert_int_equal(fake_call_count(PUT), 2);
    stop_client();
}

static void a_write_that_no_server_has_seen_is_sent_again(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    start_plain(2);
    fake_up(fake_channel("a:1"));
    fake_up(fake_channel("b:1"));
    start_put(&outcome);
    fake_close_unprocessed(fake_open_call(PUT));
    fake_advance(loop, LOOP_SECOND);
    Etcdserverpb__PutResponse response = ETCDSERVERPB__PUT_RESPONSE__INIT;
    fake_answer(fake_open_call(PUT), &response.base);
    assert_int_equal(outcome.times, 1);
    assert_int_equal(outcome.code, GRPC_OK);
    stop_client();
}

static void what_a_learner_refuses_goes_to_another_endpoint(void **state)
{
    (void)state;
    struct outcome outcome = {0}, alone = {0};
    start_plain(2);
    fake_up(fake_channel("a:1"));
    fake_up(fake_channel("b:1"));
    start_put(&outcome);
    assert_string_equal(fake_call_address(fake_open_call(PUT)), "a:1");
    fake_close(fake_open_call(PUT), GRPC_FAILED_PRECONDITION, "etcdserver: rpc not supported for learner");
    fake_advance(loop, LOOP_SECOND);
    assert_string_equal(fake_call_address(fake_open_call(PUT)), "b:1");
    Etcdserverpb__PutResponse response = ETCDSERVERPB__PUT_RESPONSE__INIT;
    fake_answer(fake_open_call(PUT), &response.base);
    assert_int_equal(outcome.code, GRPC_OK);
    stop_client();
    start_plain(1);
    fake_up(fake_channel("a:1"));
    start_put(&alone);
    fake_close(fake_open_call(PUT), GRPC_FAILED_PRECONDITION, "etcdserver: rpc not supported for learner");
    assert_string_equal(alone.text, "etcdserver: rpc not supported for learner");
    stop_client();
}

static void a_pinned_call_goes_to_its_endpoint_only(void **state)
{
    (void)state;
    struct outcome own = {0}, other = {0}, none = {0};
    start_plain(2);
    fake_up(fake_channel("a:1"));
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    struct client_call_options options = {.endpoint = "b:1"};
    client_call(client, CLIENT_STATUS, &request.base, &options, on_reply, &own);
    assert_null(fake_open_call(STATUS));
    fake_up(fake_channel("b:1"));
    assert_string_equal(fake_call_address(fake_open_call(STATUS)), "b:1");
    Etcdserverpb__StatusResponse response = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    fake_answer(fake_open_call(STATUS), &response.base);
    assert_string_equal(own.endpoint, "b:1");
    options.endpoint = "http://z:9";
    client_call(client, CLIENT_STATUS, &request.base, &options, on_reply, &other);
    fake_up(fake_channel("z:9"));
    fake_answer(fake_open_call(STATUS), &response.base);
    assert_string_equal(other.endpoint, "http://z:9");
    options.endpoint = "";
    client_call(client, CLIENT_STATUS, &request.base, &options, on_reply, &none);
    assert_int_equal(none.times, 0);
    fake_advance(loop, 0);
    assert_int_equal(none.code, GRPC_UNAVAILABLE);
    stop_client();
}

static void send_token(const char *token)
{
    Etcdserverpb__AuthenticateResponse response = ETCDSERVERPB__AUTHENTICATE_RESPONSE__INIT;
    char text[40];
    snprintf(text, sizeof(text), "%s", token);
    response.token = text;
    struct grpc_client_call *call = fake_open_call(AUTHENTICATE);
    assert_non_null(call);
    assert_null(fake_call_metadata(call, "token"));
    fake_answer(call, &response.base);
}

static void start_with_user(void)
{
    static const char *const endpoints[] = {"a:1"};
    start_client(endpoints, 1, "root", NULL);
    fake_up(fake_channel("a:1"));
}

static void calls_log_in_first_and_carry_the_token(void **state)
{
    (void)state;
    struct outcome outcomes[2] = {0};
    start_with_user();
    start_range(NULL, &outcomes[0]);
    start_range(NULL, &outcomes[1]);
    assert_int_equal(fake_call_count(AUTHENTICATE), 1);
    assert_null(fake_open_call(RANGE));
    struct arena *arena = arena_new();
    const Etcdserverpb__AuthenticateRequest *login = (const Etcdserverpb__AuthenticateRequest *)
        fake_take_sent(fake_open_call(AUTHENTICATE), &etcdserverpb__authenticate_request__descriptor, arena);
    assert_string_equal(login->name, "root");
    assert_string_equal(login->password, "secret");
    arena_free(arena);
    send_token("t1");
    assert_string_equal(fake_call_metadata(fake_open_call(RANGE), "token"), "t1");
    answer_range(1);
    answer_range(1);
    assert_int_equal(outcomes[0].times + outcomes[1].times, 2);
    stop_client();
}

static void a_token_that_ran_out_is_renewed_also_for_writes(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    start_with_user();
    start_put(&outcome);
    send_token("t1");
    fake_close(fake_open_call(PUT), GRPC_UNAUTHENTICATED, "etcdserver: invalid auth token");
    fake_advance(loop, 0);
    send_token("t2");
    assert_string_equal(fake_call_metadata(fake_open_call(PUT), "token"), "t2");
    Etcdserverpb__PutResponse response = ETCDSERVERPB__PUT_RESPONSE__INIT;
    fake_answer(fake_open_call(PUT), &response.base);
    assert_int_equal(outcome.code, GRPC_OK);
    stop_client();
}

static void logging_in_again_and_again_has_a_limit(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    start_with_user();
    start_put(&outcome);
    for (int i = 0; i < 20 && outcome.times == 0; i++) {
        if (fake_open_call(AUTHENTICATE) != NULL) send_token("t");
        fake_close(fake_open_call(PUT), GRPC_UNAUTHENTICATED, "etcdserver: invalid auth token");
        fake_advance(loop, LOOP_SECOND);
    }
    assert_string_equal(outcome.text, "etcdserver: invalid auth token");
    assert_int_equal(fake_call_count(PUT), 4);
    stop_client();
}

static void calls_that_fail_together_log_in_once(void **state)
{
    (void)state;
    struct outcome outcomes[3] = {0};
    start_with_user();
    for (int i = 0; i < 3; i++) start_range(NULL, &outcomes[i]);
    send_token("t1");
    for (int i = 0; i < 3; i++)
        fake_close(fake_open_call(RANGE), GRPC_UNAUTHENTICATED, "etcdserver: invalid auth token");
    fake_advance(loop, 0);
    assert_int_equal(fake_call_count(AUTHENTICATE), 2);
    send_token("t2");
    for (int i = 0; i < 3; i++) answer_range(1);
    stop_client();
}

static void a_late_refusal_of_the_old_token_keeps_the_new_one(void **state)
{
    (void)state;
    struct outcome early = {0}, late = {0};
    start_with_user();
    start_range(NULL, &early);
    start_put(&late);
    send_token("t1");
    fake_close(fake_open_call(RANGE), GRPC_UNAUTHENTICATED, "etcdserver: invalid auth token");
    fake_advance(loop, 0);
    send_token("t2");
    fake_close(fake_open_call(PUT), GRPC_UNAUTHENTICATED, "etcdserver: invalid auth token");
    fake_advance(loop, 0);
    assert_int_equal(fake_call_count(AUTHENTICATE), 2);
    assert_string_equal(fake_call_metadata(fake_open_call(PUT), "token"), "t2");
    stop_client();
}

static void a_wrong_password_fails_what_waits_for_it(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    static const char text[] = "etcdserver: authentication failed, invalid user ID or password";
    start_with_user();
    start_range(NULL, &outcome);
    struct client_call_options options = {.deadline = client_deadline_after(LOOP_SECOND)};
    struct outcome late = {0};
    start_range(&options, &late);
    fake_close(fake_open_call(AUTHENTICATE), GRPC_INVALID_ARGUMENT, text);
    assert_string_equal(outcome.text, text);
    assert_string_equal(late.text, text);
    assert_null(fake_open_call(RANGE));
    stop_client();
}

static void without_auth_on_the_server_calls_go_without_a_token(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    start_with_user();
    start_range(NULL, &outcome);
    fake_close(fake_open_call(AUTHENTICATE), GRPC_FAILED_PRECONDITION,
               "etcdserver: authentication is not enabled");
    assert_null(fake_call_metadata(fake_open_call(RANGE), "token"));
    /* Auth was switched on meanwhile. */
    fake_close(fake_open_call(RANGE), GRPC_INVALID_ARGUMENT, "etcdserver: user name is empty");
    fake_advance(loop, 0);
    send_token("t1");
    assert_string_equal(fake_call_metadata(fake_open_call(RANGE), "token"), "t1");
    answer_range(1);
    assert_int_equal(outcome.code, GRPC_OK);
    stop_client();
}

static void a_ready_token_is_used_and_never_renewed(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    static const char *const endpoints[] = {"a:1"};
    start_client(endpoints, 1, "root", "jwt");
    fake_up(fake_channel("a:1"));
    start_range(NULL, &outcome);
    assert_string_equal(fake_call_metadata(fake_open_call(RANGE), "token"), "jwt");
    fake_close(fake_open_call(RANGE), GRPC_UNAUTHENTICATED, "etcdserver: invalid auth token");
    assert_string_equal(outcome.text, "etcdserver: invalid auth token");
    assert_int_equal(fake_call_count(AUTHENTICATE), 0);
    stop_client();
}

static void on_login(void *context, struct client_reply *reply)
{
    struct outcome *outcome = (struct outcome *)context;
    outcome->times++;
    if (reply->error != NULL) outcome->known = reply->error->known;
}

static void logging_in_ends_with_the_dial_timeout(void **state)
{
    (void)state;
    struct outcome outcome = {0}, nothing = {0};
    static const char *const endpoints[] = {"a:1"};
    start_client(endpoints, 1, "root", NULL);
    client_login(client, on_login, &outcome);
    fake_advance(loop, 2 * LOOP_SECOND - 1);
    assert_int_equal(outcome.times, 0);
    fake_advance(loop, 1);
    assert_int_equal(outcome.times, 1);
    assert_int_equal(outcome.known, API_ERROR_DEADLINE_EXCEEDED);
    stop_client();
    start_plain(1);
    client_login(client, on_login, &nothing);
    assert_int_equal(nothing.times, 0);
    fake_advance(loop, 0);
    assert_int_equal(nothing.times, 1);
    stop_client();
}

static void a_canceled_call_ends_once_and_later(void **state)
{
    (void)state;
    struct outcome waiting = {0}, sent = {0};
    start_plain(1);
    struct client_call *call = start_range(NULL, &waiting);
    client_call_cancel(call);
    assert_int_equal(waiting.times, 0);
    fake_advance(loop, 0);
    assert_string_equal(waiting.text, "context canceled");
    fake_up(fake_channel("a:1"));
    call = start_range(NULL, &sent);
    client_call_cancel(call);
    assert_null(fake_open_call(RANGE));
    fake_advance(loop, LOOP_SECOND);
    assert_string_equal(sent.text, "context canceled");
    assert_int_equal(sent.times, 1);
    stop_client();
}

static void freeing_the_client_ends_everything(void **state)
{
    (void)state;
    struct outcome outcomes[4] = {0};
    start_with_user();
    start_range(NULL, &outcomes[0]);
    client_login(client, on_login, &outcomes[3]);
    send_token("t");
    start_put(&outcomes[1]);
    struct client_call_options options = {.endpoint = "z:1", .deadline = client_deadline_after(LOOP_SECOND)};
    start_range(&options, &outcomes[2]);
    stop_client();
    for (int i = 0; i < 4; i++) assert_int_equal(outcomes[i].times, 1);
    assert_string_equal(outcomes[2].text, "context canceled");
}

static void an_answer_that_is_no_message_is_an_error(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    start_plain(1);
    fake_up(fake_channel("a:1"));
    start_range(NULL, &outcome);
    /* A field 1 (the header) of the wrong wire type. */
    Etcdserverpb__LeaseKeepAliveRequest wrong = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    wrong.id = 5;
    fake_send(fake_open_call(RANGE), &wrong.base);
    assert_int_equal(outcome.code, GRPC_INTERNAL);
    assert_non_null(strstr(outcome.text, "failed to unmarshal"));
    stop_client();
}

/* ---- Server streams ---- */

struct stream_outcome {
    unsigned messages, ends;
    char text[200];
};

static void on_event(void *context, struct client_event *event)
{
    struct stream_outcome *outcome = (struct stream_outcome *)context;
    if (event->kind == CLIENT_EVENT_MESSAGE) {
        outcome->messages++;
        return;
    }
    outcome->ends++;
    if (event->error == NULL) return;
    struct buf text = {0};
    client_error_format(&text, event->error);
    snprintf(outcome->text, sizeof(outcome->text), "%s", buf_string(&text));
    buf_deinit(&text);
}

static void a_stream_is_opened_again_only_before_its_first_message(void **state)
{
    (void)state;
    struct stream_outcome outcome = {0};
    start_plain(1);
    fake_up(fake_channel("a:1"));
    Etcdserverpb__SnapshotRequest request = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;
    Etcdserverpb__SnapshotResponse part = ETCDSERVERPB__SNAPSHOT_RESPONSE__INIT;
    struct client_stream *stream =
        client_stream_start(client, CLIENT_SNAPSHOT, &request.base, NULL, on_event, &outcome);
    fake_close(fake_open_call(SNAPSHOT), GRPC_UNAVAILABLE, "etcdserver: server stopped");
    fake_advance(loop, LOOP_SECOND);
    client_stream_pause(stream);
    assert_true(fake_call_is_paused(fake_open_call(SNAPSHOT)));
    client_stream_resume(stream);
    fake_send(fake_open_call(SNAPSHOT), &part.base);
    fake_close(fake_open_call(SNAPSHOT), GRPC_UNAVAILABLE, "etcdserver: server stopped");
    fake_advance(loop, LOOP_SECOND);
    assert_int_equal(outcome.messages, 1);
    assert_int_equal(outcome.ends, 1);
    assert_string_equal(outcome.text, "etcdserver: server stopped");
    stop_client();
}

static void a_stream_comes_to_its_proper_end(void **state)
{
    (void)state;
    struct stream_outcome outcome = {0};
    start_plain(1);
    fake_up(fake_channel("a:1"));
    Etcdserverpb__SnapshotRequest request = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;
    Etcdserverpb__SnapshotResponse part = ETCDSERVERPB__SNAPSHOT_RESPONSE__INIT;
    client_stream_start(client, CLIENT_SNAPSHOT, &request.base, NULL, on_event, &outcome);
    fake_send(fake_open_call(SNAPSHOT), &part.base);
    fake_answer(fake_open_call(SNAPSHOT), &part.base);
    assert_int_equal(outcome.messages, 2);
    assert_int_equal(outcome.ends, 1);
    assert_string_equal(outcome.text, "");
    stop_client();
}

static void refuse_options(const struct client_options *options, const char *reason)
{
    struct client *none = NULL;
    loop = fake_loop_new();
    struct error *error = client_new(loop, options, &none);
    assert_non_null(error);
    if (strstr(error->text, reason) == NULL) fail_msg("%s", error->text);
    error_free(error);
    fake_loop_free(loop);
}

static void options_that_cannot_work_are_refused(void **state)
{
    (void)state;
    static const char *const blank[] = {"", " "}, *const plain[] = {"a:1"}, *const secure[] = {"https://a:1"};
    refuse_options(&(struct client_options){.endpoints = blank, .endpoint_count = 2},
                   "etcdclient: no available endpoints");
    refuse_options(&(struct client_options){.endpoint_count = 0}, "etcdclient: no available endpoints");
    /* What TLS has against its files is said, also when no endpoint needs them. */
    refuse_options(&(struct client_options){.endpoints = plain,
                                            .endpoint_count = 1,
                                            .tls = {.certificate_file = "c.pem"}},
                   "no TLS in the fake network");
    refuse_options(&(struct client_options){.endpoints = secure, .endpoint_count = 1},
                   "no TLS in the fake network");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_waits_for_a_connection),
        cmocka_unit_test(calls_go_round_the_connections_that_are_up),
        cmocka_unit_test(a_deadline_ends_a_call_as_etcdctl_says_it),
        cmocka_unit_test(a_deadline_the_server_reports_first_is_ours),
        cmocka_unit_test(a_read_is_repeated_while_unavailable),
        cmocka_unit_test(a_read_survives_a_broken_connection),
        cmocka_unit_test(repeating_has_a_limit),
        cmocka_unit_test(a_write_that_went_out_is_not_repeated),
        cmocka_unit_test(a_write_that_no_server_has_seen_is_sent_again),
        cmocka_unit_test(what_a_learner_refuses_goes_to_another_endpoint),
        cmocka_unit_test(a_pinned_call_goes_to_its_endpoint_only),
        cmocka_unit_test(calls_log_in_first_and_carry_the_token),
        cmocka_unit_test(a_token_that_ran_out_is_renewed_also_for_writes),
        cmocka_unit_test(logging_in_again_and_again_has_a_limit),
        cmocka_unit_test(calls_that_fail_together_log_in_once),
        cmocka_unit_test(a_late_refusal_of_the_old_token_keeps_the_new_one),
        cmocka_unit_test(a_wrong_password_fails_what_waits_for_it),
        cmocka_unit_test(without_auth_on_the_server_calls_go_without_a_token),
        cmocka_unit_test(a_ready_token_is_used_and_never_renewed),
        cmocka_unit_test(logging_in_ends_with_the_dial_timeout),
        cmocka_unit_test(a_canceled_call_ends_once_and_later),
        cmocka_unit_test(freeing_the_client_ends_everything),
        cmocka_unit_test(an_answer_that_is_no_message_is_an_error),
        cmocka_unit_test(a_stream_is_opened_again_only_before_its_first_message),
        cmocka_unit_test(a_stream_comes_to_its_proper_end),
        cmocka_unit_test(options_that_cannot_work_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
