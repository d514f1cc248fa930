#include "tui/collect.h"

#include "api/message.h"
#include "base/list.h"
#include "client/endpoint.h"
#include "net/http1.h"

#include <assert.h>
#include <stdlib.h>

enum { METRICS_PAGE_MAX = 32 * 1024 * 1024 };
#define ALARMS_PERIOD (60 * LOOP_SECOND)

/* Those of every round come before ASK_KEYS. */
enum question_kind {
    ASK_STATUS,
    ASK_METRICS,
    ASK_MEMBERS,
    ASK_ALARMS,
    ASK_LEASES,
    ASK_KEYS,
    ASK_LEASE,
    ASK_PAGE,
    ASK_AUTH,
    ASK_CHANGE
};

/* One thing under way. */
struct question {
    struct collector *collector;
    enum question_kind kind;
    uint64_t serial;                 /* of the member asked */
    uint64_t id;                     /* KEYS, LEASE, PAGE */
    enum key_request_kind asked_for; /* KEYS */
    int64_t started;
    struct client_call *call; /* STATUS */
    struct buf
        body; /* METRICS; AUTH: the name; CHANGE: what is changed, in words; STATUS: why it was given up */
    LIST_ENTRY(question) all;
};

/* The HTTP connection to one member. */
struct scraper {
    uint64_t serial;
    char *endpoint;
    struct http1_client *http;
    LIST_ENTRY(scraper) all;
};

struct collector {
    struct loop *loop;
    struct client *client;
    struct model *model;
    struct collect_handler handler;
    LIST_HEAD(, question) questions;
    LIST_HEAD(, scraper) scrapers;
    size_t busy; /* questions of rounds */
    int64_t alarms_asked, leases_asked;
    bool closed;
};

static bool is_of_round(enum question_kind kind)
{
    return kind < ASK_KEYS;
}

static struct question *question_new(struct collector *collector, enum question_kind kind, uint64_t serial)
{
    struct question *question = mem_zalloc(1, sizeof(*question));
    question->collector = collector;
    question->kind = kind;
    question->serial = serial;
    question->started = clock_monotonic();
    LIST_INSERT_HEAD(&collector->questions, question, all);
    if (is_of_round(kind)) collector->busy++;
    return question;
}

static void question_free(struct question *question)
{
    struct collector *collector = question->collector;
    bool counts = is_of_round(question->kind);
    LIST_REMOVE(question, all);
    buf_deinit(&question->body);
    free(question);
    if (!counts) return;
    collector->busy--;
    if (collector->busy == 0 && !collector->closed) collector->handler.on_round(collector->handler.context);
}

static bool is_asked(const struct collector *collector, enum question_kind kind, uint64_t serial)
{
    const struct question *question;
    LIST_FOREACH (question, &collector->questions, all)
        if (question->kind == kind && question->serial == serial) return true;
    return false;
}

struct collector *collector_new(struct loop *loop, struct client *client, struct model *model,
                                const struct collect_handler *handler)
{
    struct collector *collector = mem_zalloc(1, sizeof(*collector));
    collector->loop = loop;
    collector->client = client;
    collector->model = model;
    collector->handler = *handler;
    LIST_INIT(&collector->questions);
    LIST_INIT(&collector->scrapers);
    return collector;
}

static void scraper_free(struct scraper *scraper)
{
    LIST_REMOVE(scraper, all);
    http1_client_free(scraper->http);
    free(scraper->endpoint);
    free(scraper);
}

void collector_close(struct collector *collector)
{
    collector->closed = true;
    while (!LIST_EMPTY(&collector->scrapers)) scraper_free(LIST_FIRST(&collector->scrapers));
}

void collector_free(struct collector *collector)
{
    if (collector == NULL) return;
    assert(collector->closed && LIST_EMPTY(&collector->questions));
    free(collector);
}

bool collector_is_busy(const struct collector *collector)
{
    return collector->busy > 0;
}

/* ---- Answers ---- */

static void ask_status(struct collector *collector, const struct model_member *member);
static void ask_metrics(struct collector *collector, const struct model_member *member);
static void ask_members(struct collector *collector);

/* Rows that were not there when the round began. */
static void ask_new_members(struct collector *collector)
{
    struct model *model = collector->model;
    for (size_t i = 0; i < model->member_count; i++) {
        const struct model_member *member = model->members[i];
        if (member->status.asked || member->endpoint[0] == 0) continue;
        ask_status(collector, member);
        ask_metrics(collector, member);
    }
}

/* What of the round was answered. */
static void take_reply(struct collector *collector, const struct question *question,
                       const ProtobufCMessage *response)
{
    struct model *model = collector->model;
    int64_t now = clock_monotonic();
    switch (question->kind) {
    case ASK_STATUS:
        model_apply_status(model, question->serial,
                           (const Etcdserverpb__StatusResponse *)(const void *)response,
                           now - question->started, now);
        break;
    case ASK_MEMBERS:
        model_apply_members(model, (const Etcdserverpb__MemberListResponse *)(const void *)response, now,
                            clock_wall());
        ask_new_members(collector);
        break;
    case ASK_ALARMS:
        model_apply_alarms(model, (const Etcdserverpb__AlarmResponse *)(const void *)response, now);
        break;
    case ASK_LEASES:
        model_apply_leases(model, (const Etcdserverpb__LeaseLeasesResponse *)(const void *)response, now);
        break;
    default:
        break;
    }
}

static void take_failure(struct collector *collector, const struct question *question, const char *why)
{
    struct model *model = collector->model;
    switch (question->kind) {
    case ASK_STATUS:
        model_fail_status(model, question->serial, why);
        break;
    case ASK_METRICS:
        model_fail_metrics(model, question->serial, why);
        break;
    case ASK_MEMBERS:
        model_fail(&model->member_list, why);
        break;
    case ASK_ALARMS:
        model_fail(&model->alarm_list, why);
        break;
    case ASK_LEASES:
        model_fail(&model->lease_list, why);
        break;
    default:
        break;
    }
}

static void say_error(const struct client_error *error, struct buf *out)
{
    client_error_format(out, error);
    /* The wrapping that gRPC puts round a refused connection says nothing to people. */
    static const char *const marks[] = {"desc = \"transport: Error while dialing: ", "desc = "};
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        const char *found = strstr(buf_string(out), marks[i]);
        if (found == NULL) continue;
        buf_consume(out, (size_t)(found - (const char *)out->data) + strlen(marks[i]));
    }
    if (out->size > 0 && out->data[out->size - 1] == '"') out->size--;
}

static void on_reply(void *context, struct client_reply *reply)
{
    struct question *question = context;
    struct collector *collector = question->collector;
    enum question_kind kind = question->kind;
    if (!collector->closed && reply->error == NULL) take_reply(collector, question, reply->response);
    if (!collector->closed && reply->error != NULL) {
        struct buf why = {0};
        say_error(reply->error, &why);
        bool given_up = question->body.size > 0;
        take_failure(collector, question, buf_string(given_up ? &question->body : &why));
        buf_deinit(&why);
    }
    /* The list waits until all endpoints have said who they are, or failed to. */
    bool again = !collector->closed && kind == ASK_STATUS && collector->model->member_list.answered == 0;
    if (again) ask_members(collector);
    question_free(question);
}

/* ---- Questions of a round ---- */

static struct client_call_options bounded(const char *endpoint)
{
    return (struct client_call_options){.endpoint = endpoint,
                                        .deadline = client_now() + COLLECT_TIMEOUT_SECONDS * LOOP_SECOND};
}

static void ask_status(struct collector *collector, const struct model_member *member)
{
    if (is_asked(collector, ASK_STATUS, member->serial)) return;
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    struct client_call_options options = bounded(member->endpoint);
    struct question *question = question_new(collector, ASK_STATUS, member->serial);
    question->call =
        client_call(collector->client, CLIENT_STATUS, &request.base, &options, on_reply, question);
}

static void ask_members(struct collector *collector)
{
    if (is_asked(collector, ASK_MEMBERS, 0)) return;
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    struct client_call_options options = bounded(NULL);
    client_call(collector->client, CLIENT_MEMBER_LIST, &request.base, &options, on_reply,
                question_new(collector, ASK_MEMBERS, 0));
}

/* Listing the alarms is a proposal: once a round, it would fill the log of a cluster that is looked at. So
 * the list is only asked for when members speak of other alarms in their status, which costs nothing, and
 * rarely otherwise. */
static void ask_alarms(struct collector *collector)
{
    int64_t now = clock_monotonic();
    bool is_due = collector->alarms_asked == 0 || now - collector->alarms_asked >= ALARMS_PERIOD ||
                  !collector->model->alarm_list.good || model_alarms_changed(collector->model);
    if (!is_due || is_asked(collector, ASK_ALARMS, 0)) return;
    collector->alarms_asked = now;
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    struct client_call_options options = bounded(NULL);
    client_call(collector->client, CLIENT_ALARM, &request.base, &options, on_reply,
                question_new(collector, ASK_ALARMS, 0));
}

static void ask_leases(struct collector *collector)
{
    int64_t now = clock_monotonic();
    bool is_due =
        collector->leases_asked == 0 || now - collector->leases_asked >= collector->model->lease_list.period;
    if (!is_due || is_asked(collector, ASK_LEASES, 0)) return;
    collector->leases_asked = now;
    Etcdserverpb__LeaseLeasesRequest request = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    struct client_call_options options = bounded(NULL);
    client_call(collector->client, CLIENT_LEASE_LEASES, &request.base, &options, on_reply,
                question_new(collector, ASK_LEASES, 0));
}

/* ---- Metrics ---- */

/* The same address refused a connection: the status would wait for its deadline to say less. */
static void give_up_status(struct collector *collector, uint64_t serial, const char *why)
{
    struct question *question;
    LIST_FOREACH (question, &collector->questions, all) {
        if (question->kind != ASK_STATUS || question->serial != serial || question->body.size > 0) continue;
        buf_append_string(&question->body, why);
        client_call_cancel(question->call);
        return;
    }
}

static void on_metrics_done(struct http1_client_request *request, const struct error *error)
{
    struct question *question = http1_client_request_context(request);
    struct collector *collector = question->collector;
    int status = http1_client_request_status(request);
    if (!collector->closed && error != NULL) {
        take_failure(collector, question, error->text);
        if (strstr(error->text, "connection refused") != NULL)
            give_up_status(collector, question->serial, error->text);
    } else if (!collector->closed && status != 200) {
        char why[64];
        snprintf(why, sizeof(why), "HTTP status %d", status);
        take_failure(collector, question, why);
    } else if (!collector->closed) {
        struct scrape scrape;
        scrape_read(&scrape, http1_client_request_body(request), clock_monotonic());
        model_apply_metrics(collector->model, question->serial, &scrape);
    }
    question_free(question);
}

static struct scraper *scraper_of(struct collector *collector, const struct model_member *member,
                                  const struct endpoint *endpoint)
{
    struct scraper *scraper;
    LIST_FOREACH (scraper, &collector->scrapers, all)
        if (scraper->serial == member->serial) break;
    if (scraper != NULL && strcmp(scraper->endpoint, member->endpoint) == 0) return scraper;
    if (scraper != NULL) scraper_free(scraper);
    scraper = mem_zalloc(1, sizeof(*scraper));
    scraper->serial = member->serial;
    scraper->endpoint = mem_strdup(member->endpoint);
    struct http1_client_config config = {.address = endpoint->address,
                                         .security = client_http1_security(collector->client, endpoint->tls),
                                         .server_name = endpoint->server_name,
                                         .connect_timeout = COLLECT_TIMEOUT_SECONDS * LOOP_SECOND};
    scraper->http = http1_client_new(collector->loop, &config);
    LIST_INSERT_HEAD(&collector->scrapers, scraper, all);
    return scraper;
}

/* Asks a member for its metrics page; NULL when it is being asked, or has no address. */
static struct question *start_page(struct collector *collector, enum question_kind kind,
                                   const struct model_member *member,
                                   const struct http1_client_handler *handler)
{
    struct endpoint endpoint;
    if (is_asked(collector, kind, member->serial) || !endpoint_parse(member->endpoint, &endpoint))
        return NULL;
    struct scraper *scraper = scraper_of(collector, member, &endpoint);
    struct question *question = question_new(collector, kind, member->serial);
    struct http1_client_options options = {.method = "GET",
                                           .target = "/metrics",
                                           .deadline =
                                               clock_monotonic() + COLLECT_TIMEOUT_SECONDS * LOOP_SECOND,
                                           .gather_limit = METRICS_PAGE_MAX,
                                           .handler = handler,
                                           .context = question};
    http1_client_request(scraper->http, &options);
    endpoint_deinit(&endpoint);
    return question;
}

static void ask_metrics(struct collector *collector, const struct model_member *member)
{
    static const struct http1_client_handler handler = {.on_done = on_metrics_done};
    (void)start_page(collector, ASK_METRICS, member, &handler);
}

/* Connections to members that are gone. */
static void drop_scrapers(struct collector *collector)
{
    struct scraper *scraper = LIST_FIRST(&collector->scrapers);
    while (scraper != NULL) {
        struct scraper *next = LIST_NEXT(scraper, all);
        if (model_member_by_serial(collector->model, scraper->serial) == NULL) scraper_free(scraper);
        scraper = next;
    }
}

void collector_round(struct collector *collector)
{
    struct model *model = collector->model;
    drop_scrapers(collector);
    client_connect_now(collector->client);
    for (size_t i = 0; i < model->member_count; i++) {
        const struct model_member *member = model->members[i];
        if (member->endpoint[0] == 0) continue;
        ask_status(collector, member);
        ask_metrics(collector, member);
    }
    ask_members(collector);
    ask_alarms(collector);
    ask_leases(collector);
}

/* ---- Keys ---- */

static void on_keys(void *context, struct client_reply *reply)
{
    struct question *question = context;
    struct collector *collector = question->collector;
    struct key_answer answer = {.id = question->id, .kind = question->asked_for, .now = clock_monotonic()};
    struct buf why = {0};
    const Etcdserverpb__RangeResponse *response = (const void *)reply->response;
    if (reply->error != NULL) {
        say_error(reply->error, &why);
        answer.error = buf_string(&why);
        answer.is_compacted = reply->error->known == API_ERROR_COMPACTED;
    } else {
        answer.kvs = response->kvs;
        answer.kv_count = response->n_kvs;
        answer.more = response->more;
        answer.count = response->count;
        answer.revision = response->header == NULL ? 0 : response->header->revision;
    }
    question_free(question);
    if (!collector->closed) collector->handler.on_key_answer(collector->handler.context, &answer);
    buf_deinit(&why);
}

static void ask_range(struct collector *collector, const struct key_request *request)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = message_binary(request->key);
    range.range_end = message_binary(request->range_end);
    range.limit = request->limit;
    range.revision = request->revision;
    range.keys_only = request->kind == KEY_REQUEST_LIST;
    range.count_only = request->kind == KEY_REQUEST_COUNT;
    /* Without a leader a member's own data is the best there is. */
    range.serializable = collector->model->leader == 0;
    struct question *question = question_new(collector, ASK_KEYS, 0);
    question->id = request->id;
    question->asked_for = request->kind;
    struct client_call_options options = {.deadline =
                                              client_now() + COLLECT_KEYS_TIMEOUT_SECONDS * LOOP_SECOND};
    client_call(collector->client, CLIENT_RANGE, &range.base, &options, on_keys, question);
}

static void on_lease(void *context, struct client_reply *reply)
{
    struct question *question = context;
    struct collector *collector = question->collector;
    struct key_answer answer = {.id = question->id, .kind = KEY_REQUEST_LEASE, .now = clock_monotonic()};
    struct buf why = {0};
    const Etcdserverpb__LeaseTimeToLiveResponse *response = (const void *)reply->response;
    if (reply->error != NULL) {
        say_error(reply->error, &why);
        answer.error = buf_string(&why);
    } else {
        answer.lease = response->id;
        answer.left = response->ttl;
        answer.granted = response->grantedttl;
        answer.keys = response->keys;
        answer.key_count = response->n_keys;
    }
    question_free(question);
    if (!collector->closed) collector->handler.on_key_answer(collector->handler.context, &answer);
    buf_deinit(&why);
}

static void ask_lease(struct collector *collector, const struct key_request *request)
{
    Etcdserverpb__LeaseTimeToLiveRequest lease = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    struct question *question = question_new(collector, ASK_LEASE, 0);
    struct client_call_options options = bounded(NULL);
    question->id = request->id;
    lease.id = request->lease;
    lease.keys = true;
    client_call(collector->client, CLIENT_LEASE_TIME_TO_LIVE, &lease.base, &options, on_lease, question);
}

static void on_page_done(struct http1_client_request *request, const struct error *error)
{
    struct question *question = http1_client_request_context(request);
    struct collector *collector = question->collector;
    struct key_answer answer = {.id = question->id, .kind = KEY_REQUEST_METRICS, .now = clock_monotonic()};
    answer.page = http1_client_request_body(request);
    answer.error = error != NULL                                 ? error->text
                   : http1_client_request_status(request) != 200 ? "the page is not there"
                                                                 : NULL;
    if (!collector->closed) collector->handler.on_key_answer(collector->handler.context, &answer);
    question_free(question);
}

static void ask_page(struct collector *collector, const struct key_request *request)
{
    static const struct http1_client_handler handler = {.on_done = on_page_done};
    const struct model_member *member = model_member_by_serial(collector->model, request->member);
    if (member == NULL) return;
    struct question *question = start_page(collector, ASK_PAGE, member, &handler);
    if (question != NULL) question->id = request->id;
}

static void on_auth(void *context, struct client_reply *reply)
{
    struct question *question = context;
    struct collector *collector = question->collector;
    struct key_answer answer = {.id = question->id, .kind = question->asked_for, .now = clock_monotonic()};
    struct buf why = {0}, name = question->body;
    question->body = (struct buf){0};
    answer.name = buf_bytes(&name);
    answer.message = reply->response;
    if (reply->error != NULL) {
        say_error(reply->error, &why);
        answer.error = buf_string(&why);
    }
    question_free(question);
    if (!collector->closed) collector->handler.on_key_answer(collector->handler.context, &answer);
    buf_deinit(&why);
    buf_deinit(&name);
}

static void ask_auth(struct collector *collector, const struct key_request *request)
{
    Etcdserverpb__AuthStatusRequest status = ETCDSERVERPB__AUTH_STATUS_REQUEST__INIT;
    Etcdserverpb__AuthUserListRequest users = ETCDSERVERPB__AUTH_USER_LIST_REQUEST__INIT;
    Etcdserverpb__AuthRoleListRequest roles = ETCDSERVERPB__AUTH_ROLE_LIST_REQUEST__INIT;
    Etcdserverpb__AuthUserGetRequest user = ETCDSERVERPB__AUTH_USER_GET_REQUEST__INIT;
    Etcdserverpb__AuthRoleGetRequest role = ETCDSERVERPB__AUTH_ROLE_GET_REQUEST__INIT;
    const struct {
        enum client_rpc rpc;
        const ProtobufCMessage *message;
    } rows[] = {
        [KEY_REQUEST_AUTH] = {CLIENT_AUTH_STATUS, &status.base},
        [KEY_REQUEST_USERS] = {CLIENT_USER_LIST, &users.base},
        [KEY_REQUEST_ROLES] = {CLIENT_ROLE_LIST, &roles.base},
        [KEY_REQUEST_USER] = {CLIENT_USER_GET, &user.base},
        [KEY_REQUEST_ROLE] = {CLIENT_ROLE_GET, &role.base},
    };
    struct question *question = question_new(collector, ASK_AUTH, 0);
    struct client_call_options options = bounded(NULL);
    question->id = request->id;
    question->asked_for = request->kind;
    buf_append_bytes(&question->body, request->key);
    user.name = role.role = (char *)(uintptr_t)buf_string(&question->body);
    client_call(collector->client, rows[request->kind].rpc, rows[request->kind].message, &options, on_auth,
                question);
}

void collector_ask_keys(struct collector *collector, const struct key_request *request)
{
    if (request->kind == KEY_REQUEST_LEASE)
        ask_lease(collector, request);
    else if (request->kind == KEY_REQUEST_METRICS)
        ask_page(collector, request);
    else if (request->kind >= KEY_REQUEST_AUTH)
        ask_auth(collector, request);
    else
        ask_range(collector, request);
}

/* ---- Changes ---- */

static void on_changed(void *context, struct client_reply *reply)
{
    struct question *question = context;
    struct collector *collector = question->collector;
    struct buf what = question->body, why = {0};
    question->body = (struct buf){0};
    question_free(question);
    const char *error = NULL;
    if (reply->error != NULL) {
        say_error(reply->error, &why);
        error = buf_string(&why);
    } else if (reply->response->descriptor == &etcdserverpb__txn_response__descriptor &&
               !((const Etcdserverpb__TxnResponse *)(const void *)reply->response)->succeeded) {
        error = "the key was changed meanwhile; nothing was done";
    }
    if (!collector->closed)
        collector->handler.on_change_done(collector->handler.context, buf_string(&what), error);
    buf_deinit(&what);
    buf_deinit(&why);
}

/* The operation happens only if the key is still as the user saw it. */
static void change_if_unchanged(struct collector *collector, const struct app_change *change,
                                Etcdserverpb__RequestOp *operation, struct question *question)
{
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares = &compare;
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    compare.key = message_binary(change->key);
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = change->expected_revision;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.n_compare = 1;
    txn.compare = &compares;
    txn.n_success = 1;
    txn.success = &operation;
    struct client_call_options options = {.deadline =
                                              client_now() + COLLECT_KEYS_TIMEOUT_SECONDS * LOOP_SECOND};
    client_call(collector->client, CLIENT_TXN, &txn.base, &options, on_changed, question);
}

void collector_change(struct collector *collector, const struct app_change *change)
{
    struct question *question = question_new(collector, ASK_CHANGE, 0);
    buf_append_string(&question->body, change->kind == APP_PUT ? "put " : "delete ");
    buf_append_bytes(&question->body, change->key);
    Etcdserverpb__RequestOp operation = ETCDSERVERPB__REQUEST_OP__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest delete = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    put.key = delete.key = message_binary(change->key);
    switch (change->kind) {
    case APP_PUT:
        put.value = message_binary(change->value);
        put.ignore_lease = true; /* keeps the one it has */
        operation.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        operation.request_put = &put;
        change_if_unchanged(collector, change, &operation, question);
        break;
    case APP_DELETE:
        operation.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        operation.request_delete_range = &delete;
        change_if_unchanged(collector, change, &operation, question);
        break;
    case APP_DELETE_PREFIX: {
        struct buf end = {0};
        key_request_prefix_end(change->key, &end);
        delete.range_end = message_binary(buf_bytes(&end));
        struct client_call_options options = {.deadline =
                                                  client_now() + COLLECT_KEYS_TIMEOUT_SECONDS * LOOP_SECOND};
        client_call(collector->client, CLIENT_DELETE_RANGE, &delete.base, &options, on_changed, question);
        buf_deinit(&end);
        break;
    }
    }
}
