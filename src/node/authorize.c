/* Who asks, and whether it may.
 *
 * The edge tells what a request showed (struct node_identity); who that is, the node finds out when the
 * request is proposed or served, because tokens come and go with applied entries. Three moments, as in etcd:
 *
 *     submitted   what only administrators may do, and what takes anybody who is known
 *     served      reads: permission on what they read, in the state they read
 *     applied     writes: permission on what they change, by every member alike (apply.c): the entry's header
 *                 carries user and revision
 *
 * A simple token names the entry that made it. A member that has not applied that entry cannot know the token
 * yet: the request waits until it has, or until it is plain that there is no such entry. */
#include "node/node_internal.h"

#include "api/message.h"

#include <stdlib.h>

enum { WATCH_REQUESTS_WAITING_MAX = 1024 };

/* For an entry that is not known to be committed: long enough for a follower to hear of it. */
#define TOKEN_PATIENCE NODE_SECOND

/* ---- who ---- */

static struct auth_identity as_root(const struct node *node)
{
    return (struct auth_identity){.user = BYTES_LITERAL("root"), .revision = auth_revision(node->auth)};
}

struct auth_identity node_root_identity(const struct node *node)
{
    return auth_is_enabled(node->auth) ? as_root(node) : (struct auth_identity){0};
}

enum api_error node_identify(struct node *node, const struct node_identity *shown,
                             struct auth_identity *identity)
{
    *identity = (struct auth_identity){0};
    if (!auth_is_enabled(node->auth)) return API_OK;
    switch (shown->kind) {
    case NODE_IDENTITY_NONE:
        return API_OK;
    case NODE_IDENTITY_TOKEN:
        if (!auth_tokens_use(node->tokens, shown->text, node->now, &identity->user))
            return API_ERROR_INVALID_AUTH_TOKEN;
        identity->revision = auth_revision(node->auth);
        return API_OK;
    case NODE_IDENTITY_CLAIMS:
        *identity = (struct auth_identity){.user = shown->text, .revision = shown->revision};
        return API_OK;
    case NODE_IDENTITY_CERTIFICATE:
        *identity = (struct auth_identity){.user = shown->text, .revision = auth_revision(node->auth)};
        return API_OK;
    case NODE_IDENTITY_REFUSED:
        break;
    }
    return API_ERROR_INVALID_AUTH_TOKEN;
}

enum api_error node_identify_request(struct node *node, const struct node_request *request,
                                     struct auth_identity *identity)
{
    if (!request->internal) return node_identify(node, &request->identity, identity);
    *identity = node_root_identity(node);
    return API_OK;
}

/* ---- when submitted ---- */

enum requirement { NEEDS_NOTHING, NEEDS_USER, NEEDS_ADMIN };

static enum requirement requirement_of(const struct node_request *request)
{
    switch (request->operation) {
    case NODE_COMPACT:
    case NODE_MEMBER_ADD:
    case NODE_MEMBER_REMOVE:
    case NODE_MEMBER_UPDATE:
    case NODE_MEMBER_PROMOTE:
    case NODE_MOVE_LEADER:
    case NODE_DOWNGRADE:
    case NODE_HASH:
    case NODE_HASH_KV:
    case NODE_SETTLE: /* snapshots and defragmentation */
        return NEEDS_ADMIN;
    case NODE_ALARM:
        return ((const Etcdserverpb__AlarmRequest *)request->message)->action ==
                       ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET
                   ? NEEDS_USER
                   : NEEDS_ADMIN;
    case NODE_LEASE_GRANT:
    case NODE_LEASE_REVOKE:
    case NODE_LEASE_TIME_TO_LIVE:
    case NODE_STATUS:
        return NEEDS_USER;
    default:
        return NEEDS_NOTHING; /* so far */
    }
}

enum api_error node_authorize(struct node *node, const struct node_request *request)
{
    struct auth_identity identity;
    enum requirement requirement = requirement_of(request);
    /* etcd reads the addresses before it asks who wants them. */
    if (request->operation == NODE_MEMBER_ADD && !node_has_good_urls(request->message))
        return API_ERROR_MEMBER_BAD_URLS;
    if (requirement == NEEDS_NOTHING || !auth_is_enabled(node->auth)) return API_OK;
    enum api_error error = node_identify_request(node, request, &identity);
    if (error != API_OK) return error;
    return requirement == NEEDS_ADMIN ? auth_check_admin(node->auth, &identity)
                                      : auth_check_user(node->auth, &identity);
}

/* ---- when served ---- */

static enum api_error check_lease_access(const struct auth_check *check, int64_t lease,
                                         enum auth_access access)
{
    enum api_error error = auth_check_user(check->store, check->identity);
    return error != API_OK ? error : auth_check_lease(check, lease, access);
}

static bool is_checked_when_served(enum node_operation operation)
{
    return operation == NODE_RANGE || operation == NODE_TXN || operation == NODE_LEASE_KEEP_ALIVE ||
           operation == NODE_LEASE_TIME_TO_LIVE || operation == NODE_LEASE_LEASES ||
           operation == NODE_MEMBER_LIST;
}

static enum api_error check_read(const struct auth_check *check, const struct node_request *request)
{
    switch (request->operation) {
    case NODE_RANGE:
        return auth_check_range(check, request->message);
    case NODE_TXN:
        return auth_check_txn(check, request->message);
    case NODE_LEASE_KEEP_ALIVE:
        return check_lease_access(check, ((const Etcdserverpb__LeaseKeepAliveRequest *)request->message)->id,
                                  AUTH_WRITE);
    case NODE_LEASE_TIME_TO_LIVE: {
        const Etcdserverpb__LeaseTimeToLiveRequest *asked = request->message;
        return asked->keys ? check_lease_access(check, asked->id, AUTH_READ)
                           : auth_check_user(check->store, check->identity);
    }
    case NODE_LEASE_LEASES: {
        enum api_error error = auth_check_user(check->store, check->identity);
        return error != API_OK ? error : auth_check_leases(check);
    }
    case NODE_MEMBER_LIST:
        return auth_check_user(check->store, check->identity);
    default:
        return API_OK;
    }
}

/* The state of users and roles that a range or transaction was allowed in is the one it is answered in. */
static bool is_stale(const struct node *node, const struct node_request *request)
{
    bool is_of_keys = request->operation == NODE_RANGE || request->operation == NODE_TXN;
    uint64_t revision = request->node.auth_revision;
    return is_of_keys && revision != 0 && revision != auth_revision(node->auth);
}

enum api_error node_authorize_read(struct node *node, struct node_request *request)
{
    struct auth_identity identity;
    request->node.auth_revision = 0;
    if (!auth_is_enabled(node->auth) || !is_checked_when_served(request->operation)) return API_OK;
    enum api_error error = node_identify_request(node, request, &identity);
    if (error != API_OK) return error;
    const struct auth_check check = {.store = node->auth, .lessor = node->lessor, .identity = &identity};
    error = check_read(&check, request);
    request->node.auth_revision = identity.revision;
    return error == API_OK && is_stale(node, request) ? API_ERROR_AUTH_OLD_REVISION : error;
}

enum api_error node_authorize_answer(const struct node *node, const struct node_request *request)
{
    return is_stale(node, request) ? API_ERROR_AUTH_OLD_REVISION : API_OK;
}

/* Refusals in a watch response travel as text, in which etcd writes the status's code as well. */
const char *node_authorize_watch(struct node *node, const struct node_identity *shown, struct bytes key,
                                 struct bytes range_end)
{
    struct auth_identity identity;
    enum api_error error = node_identify(node, shown, &identity);
    if (error == API_OK) error = auth_check_keys(node->auth, &identity, AUTH_READ, key, range_end);
    switch (error) {
    case API_OK:
        return NULL;
    case API_ERROR_INVALID_AUTH_TOKEN:
        return "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
    case API_ERROR_AUTH_OLD_REVISION:
        return "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old";
    case API_ERROR_USER_EMPTY:
        return "rpc error: code = InvalidArgument desc = etcdserver: user name is empty";
    default:
        return "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    }
}

/* ---- waiting for the token's entry ---- */

/* The index in a token is that of the entry before the one that made it. */
static bool must_wait(const struct node *node, const struct node_identity *shown, int64_t since)
{
    uint64_t before;
    if (shown->kind != NODE_IDENTITY_TOKEN || !auth_is_enabled(node->auth)) return false;
    if (!auth_token_index(shown->text, &before) || before < node->applied) return false;
    return node->now - since < (before < node->committed ? node->request_timeout : TOKEN_PATIENCE);
}

bool node_hold_request(struct node *node, struct node_request *request)
{
    /* Who logs in is nobody yet, whatever token is shown. */
    bool logs_in = request->operation == NODE_AUTH_PASSWORD || request->operation == NODE_AUTHENTICATE;
    if (request->internal || logs_in || !must_wait(node, &request->identity, request->submitted_at))
        return false;
    node_queue_put(&node->unidentified, request);
    return true;
}

/* A copy of a watch request whose user is not known yet, and of those that came after it on its stream. */
struct node_held_watch {
    struct watch_stream *stream;
    struct arena *arena;
    struct node_identity identity;
    const void *request;
    int64_t since;
    TAILQ_ENTRY(node_held_watch) link;
};

static bool is_held(const struct node *node, const struct watch_stream *stream)
{
    const struct node_held_watch *held;
    TAILQ_FOREACH (held, &node->held_watches, link)
        if (held->stream == stream) return true;
    return false;
}

bool node_hold_watch(struct node *node, struct watch_stream *stream, const struct node_identity *identity,
                     const ProtobufCMessage *request)
{
    /* Too many: what cannot be waited for is refused like a token that nobody knows. */
    if (node->held_watch_count >= WATCH_REQUESTS_WAITING_MAX) return false;
    if (!is_held(node, stream) && !must_wait(node, identity, node->now)) return false;
    struct arena *arena = arena_new();
    struct node_held_watch *held = arena_zalloc(arena, sizeof(*held));
    *held = (struct node_held_watch){
        .stream = stream,
        .arena = arena,
        .identity = {.kind = identity->kind, .text = arena_copy(arena, identity->text)},
        .request = message_copy(request, arena),
        .since = node->now,
    };
    TAILQ_INSERT_TAIL(&node->held_watches, held, link);
    node->held_watch_count++;
    return true;
}

static void drop_held(struct node *node, struct node_held_watch *held)
{
    TAILQ_REMOVE(&node->held_watches, held, link);
    node->held_watch_count--;
    arena_free(held->arena);
}

void node_drop_held_watches(struct node *node, const struct watch_stream *stream)
{
    struct node_held_watch *held, *next;
    for (held = TAILQ_FIRST(&node->held_watches); held != NULL; held = next) {
        next = TAILQ_NEXT(held, link);
        if (stream == NULL || held->stream == stream) drop_held(node, held);
    }
}

/* Requests of one stream show the same token and came one after the other: the first that may go lets the
 * others follow. */
static void release_watches(struct node *node)
{
    struct node_held_watch *held, *next;
    for (held = TAILQ_FIRST(&node->held_watches); held != NULL; held = next) {
        next = TAILQ_NEXT(held, link);
        if (must_wait(node, &held->identity, held->since)) continue;
        node_watch_run(node, held->stream, &held->identity, held->request);
        drop_held(node, held);
    }
}

void node_release_held(struct node *node)
{
    struct node_request *request, *next;
    for (request = TAILQ_FIRST(&node->unidentified); request != NULL; request = next) {
        next = TAILQ_NEXT(request, node.link);
        if (must_wait(node, &request->identity, request->submitted_at)) continue;
        node_queue_remove(request);
        node_dispatch(node, request);
        node->more = true; /* proposals of this run have left already */
    }
    release_watches(node);
}
