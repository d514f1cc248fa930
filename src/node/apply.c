/* Committed entries take effect here, on every member in the same order with the same result. An entry's
 * effects and its index go into the same backend batch; entries that the backend already holds (index <=
 * consistent index, after a restart) only move raft's configuration and the membership view.
 *
 * Alarms stand in front of every write: CORRUPT refuses all of them, NOSPACE those that need room. A write
 * that crosses the quota is carried out and still answered with "no space", as all members must do the same
 * and their sizes differ. */
#include "node/node_internal.h"

#include "api/message.h"
#include "base/wire.h"

#include "membership.pb-c.h"

#include <assert.h>
#include <stdlib.h>

enum { ENTRIES_PER_RUN = 4096 };

bool node_alarm_active(const struct node *node, int type)
{
    for (size_t i = 0; i < node->alarm_count; i++)
        if (node->alarms[i].type == type) return true;
    return false;
}

/* ---- one entry, taken apart ---- */

static bool is_payload_field(uint32_t field)
{
    return (field >= 3 && field <= 11) || (field >= 1000 && field <= 1302);
}

static uint64_t view_header(struct bytes header, struct auth_identity *identity)
{
    struct wire_reader reader = wire_reader_of(header);
    struct wire_field field;
    uint64_t id = 0;
    while (wire_next(&reader, &field)) {
        if (field.number == 1 && field.type == WIRE_VARINT) id = field.value;
        if (field.number == 2 && field.type == WIRE_LENGTH) identity->user = field.bytes;
        if (field.number == 3 && field.type == WIRE_VARINT) identity->revision = field.value;
    }
    return id;
}

static bool view_entry(struct bytes entry, struct node_entry_view *view)
{
    struct wire_reader reader = wire_reader_of(entry);
    struct wire_field field;
    *view = (struct node_entry_view){0};
    while (wire_next(&reader, &field)) {
        if (field.type == WIRE_VARINT && field.number == 1) {
            if (view->id == 0) view->id = field.value;
        } else if (field.type == WIRE_LENGTH && field.number == NODE_FIELD_HEADER) {
            uint64_t id = view_header(field.bytes, &view->identity);
            if (id != 0) view->id = id;
        } else if (field.type == WIRE_LENGTH && field.number == NODE_FIELD_V2) {
            view->field = 0; /* a v2 Request, bare (its fields 3 and 4 are texts) or wrapped */
            return true;
        } else if (field.type == WIRE_LENGTH && is_payload_field(field.number) && view->field == 0) {
            view->field = field.number;
            view->message = field.bytes;
        }
    }
    return !reader.failed;
}

uint64_t node_entry_id(struct bytes entry)
{
    struct node_entry_view view;
    return view_entry(entry, &view) ? view.id : 0;
}

/* ---- effects ---- */

static struct error *notify_watches(struct node *node)
{
    if (node->kv.change_count == 0) return NULL;
    metric_add(&node->metrics.events, node->kv.change_count);
    return watch_hub_notify(node->watches, node->kv.changes, node->kv.change_count);
}

static struct error *apply_put(struct node *node, struct node_application *application)
{
    const Etcdserverpb__PutRequest *request = application->message;
    struct kv_header header = node_kv_header(node);
    metric_add(&node->metrics.puts, 1);
    TRY(kv_put(&node->kv, request, &header, application->response, &application->status));
    return notify_watches(node);
}

static struct error *apply_delete_range(struct node *node, struct node_application *application)
{
    struct kv_header header = node_kv_header(node);
    metric_add(&node->metrics.deletes, 1);
    TRY(kv_delete_range(&node->kv, application->message, &header, application->response,
                        &application->status));
    return notify_watches(node);
}

static struct error *apply_txn(struct node *node, struct node_application *application)
{
    struct kv_header header = node_kv_header(node);
    metric_add(&node->metrics.txns, 1);
    TRY(kv_txn(&node->kv, application->message, &header, application->response, &application->status));
    return notify_watches(node);
}

static void respond_with_header(struct node *node, struct node_application *application)
{
    if (application->response != NULL) node_begin_response(node);
}

static struct error *apply_compaction(struct node *node, struct node_application *application)
{
    const Etcdserverpb__CompactionRequest *request = application->message;
    enum mvcc_status status = mvcc_compact_start(node->store, request->revision);
    if (status == MVCC_OK) {
        node->seal_now = true;
    } else {
        application->status = status == MVCC_COMPACTED ? API_ERROR_COMPACTED : API_ERROR_FUTURE_REVISION;
    }
    respond_with_header(node, application);
    return NULL;
}

static struct error *apply_lease_grant(struct node *node, struct node_application *application)
{
    const Etcdserverpb__LeaseGrantRequest *request = application->message;
    int64_t id = application->waiter != NULL ? application->waiter->node.lease : request->id;
    int64_t ttl = 0;
    application->status = lessor_grant(node->lessor, id, request->ttl, node->now, &ttl);
    if (application->status != API_OK) return NULL;
    metric_add(&node->metrics.leases_granted, 1);
    if (ttl > 0 && ttl < INT32_MAX) metric_observe(&node->metrics.lease_ttl, (uint64_t)(ttl * NODE_SECOND));
    respond_with_header(node, application);
    if (application->response != NULL) {
        wire_uint_field_nonzero(application->response, 2, (uint64_t)id);
        wire_uint_field_nonzero(application->response, 3, (uint64_t)ttl);
    }
    return NULL;
}

static struct error *apply_lease_revoke(struct node *node, struct node_application *application)
{
    const Etcdserverpb__LeaseRevokeRequest *request = application->message;
    struct lessor_keys keys = {0};
    application->status = lessor_revoke_begin(node->lessor, request->id, &keys);
    if (application->status != API_OK) return NULL;
    /* The keys go in bytewise order, in one transaction, before the lease itself: all in one backend batch.
     */
    kv_revoke(&node->kv, keys.items, keys.count);
    lessor_keys_deinit(&keys);
    TRY(notify_watches(node));
    lessor_revoke_end(node->lessor, request->id);
    metric_add(&node->metrics.leases_revoked, 1);
    respond_with_header(node, application);
    return NULL;
}

static struct error *apply_lease_checkpoint(struct node *node, struct node_application *application)
{
    const Etcdserverpb__LeaseCheckpointRequest *request = application->message;
    struct version version;
    bool persist =
        node->config.lease_checkpoint_persist ||
        (cluster_version(node->cluster, &version) && version_compare_minor(version, version_of(3, 6)) >= 0);
    for (size_t i = 0; i < request->n_checkpoints; i++)
        lessor_checkpoint(node->lessor, request->checkpoints[i]->id, request->checkpoints[i]->remaining_ttl,
                          persist, node->now);
    return NULL;
}

static struct error *apply_alarm(struct node *node, struct node_application *application)
{
    respond_with_header(node, application);
    node_alarm_apply(node, application->message, application->response);
    return NULL;
}

static struct error *apply_cluster_version(struct node *node, struct node_application *application)
{
    const Membershippb__ClusterVersionSetRequest *request = application->message;
    struct version version;
    if (!version_parse(bytes_from_string(request->ver), &version))
        return error_new(ERROR_CORRUPT, "entry %llu sets the cluster version to \"%s\", which is no version",
                         (unsigned long long)application->entry->index, request->ver);
    return node_set_cluster_version(node, version);
}

static struct error *apply_member_attributes(struct node *node, struct node_application *application)
{
    const Membershippb__ClusterMemberAttrSetRequest *request = application->message;
    const Membershippb__Attributes *attributes = request->member_attributes;
    if (attributes == NULL)
        return error_new(ERROR_CORRUPT, "entry %llu sets member attributes but has none",
                         (unsigned long long)application->entry->index);
    const struct cluster_urls urls = {.items = attributes->client_urls, .count = attributes->n_client_urls};
    node_set_attributes(node, request->member_id, attributes->name, &urls);
    return NULL;
}

static struct error *apply_downgrade(struct node *node, struct node_application *application)
{
    const Membershippb__DowngradeInfoSetRequest *request = application->message;
    struct cluster_downgrade downgrade = {.enabled = request->enabled};
    if (request->enabled && !version_parse(bytes_from_string(request->ver), &downgrade.target))
        return error_new(ERROR_CORRUPT, "entry %llu enables a downgrade to \"%s\", which is no version",
                         (unsigned long long)application->entry->index, request->ver);
    cluster_set_downgrade(node->cluster, node->backend, downgrade);
    node->membership_changed = true;
    node_hasten_version(node);
    if (application->response != NULL) node_begin_downgrade_response(node);
    return NULL;
}

/* A kind of entry: where it stands in InternalRaftRequest, how it is decoded and applied. */
struct entry_kind {
    uint32_t field;
    const char *name; /* of that field */
    const ProtobufCMessageDescriptor *descriptor;
    node_apply_function *apply;
    bool blocked_corrupt;                  /* refused while a CORRUPT alarm is active */
    uint64_t (*cost)(const void *message); /* what it needs of the quota */
    bool for_admin;                        /* only administrators may */
    /* What else its user must be permitted; NULL: nothing. */
    enum api_error (*check)(const struct auth_check *check, const void *message);
};

static enum api_error check_put(const struct auth_check *check, const void *message)
{
    return auth_check_put(check, message);
}
static enum api_error check_delete_range(const struct auth_check *check, const void *message)
{
    return auth_check_delete_range(check, message);
}
static enum api_error check_txn(const struct auth_check *check, const void *message)
{
    return auth_check_txn(check, message);
}
static enum api_error check_lease_revoke(const struct auth_check *check, const void *message)
{
    return auth_check_lease(check, ((const Etcdserverpb__LeaseRevokeRequest *)message)->id, AUTH_WRITE);
}

static uint64_t cost_put(const void *message)
{
    return kv_cost_put(message);
}
static uint64_t cost_txn(const void *message)
{
    return kv_cost_txn(message);
}
static uint64_t cost_grant(const void *message)
{
    (void)message;
    return KV_COST_LEASE_GRANT;
}

#define KIND(kind_, field_, name_, message_, apply_, ...)                                                    \
    [NODE_APPLY_##kind_] = {.field = NODE_FIELD_##field_,                                                    \
                            .name = name_,                                                                   \
                            .descriptor = &message_##__descriptor,                                           \
                            .apply = apply_,                                                                 \
                            __VA_ARGS__}

#define AUTH_KIND(kind_, field_, name_, apply_, for_admin_)                                                  \
    [NODE_APPLY_##                                                                                           \
        kind_] = {.field = NODE_FIELD_##field_, .name = name_, .apply = apply_, .for_admin = for_admin_}

static const struct entry_kind kinds[] = {
    KIND(PUT, PUT, "put", etcdserverpb__put_request, apply_put, .blocked_corrupt = true, .cost = cost_put,
         .check = check_put),
    KIND(DELETE_RANGE, DELETE_RANGE, "delete_range", etcdserverpb__delete_range_request, apply_delete_range,
         .blocked_corrupt = true, .check = check_delete_range),
    KIND(TXN, TXN, "txn", etcdserverpb__txn_request, apply_txn, .blocked_corrupt = true, .cost = cost_txn,
         .check = check_txn),
    KIND(COMPACTION, COMPACTION, "compaction", etcdserverpb__compaction_request, apply_compaction,
         .blocked_corrupt = true),
    KIND(LEASE_GRANT, LEASE_GRANT, "lease_grant", etcdserverpb__lease_grant_request, apply_lease_grant,
         .blocked_corrupt = true, .cost = cost_grant),
    KIND(LEASE_REVOKE, LEASE_REVOKE, "lease_revoke", etcdserverpb__lease_revoke_request, apply_lease_revoke,
         .blocked_corrupt = true, .check = check_lease_revoke),
    KIND(ALARM, ALARM, "alarm", etcdserverpb__alarm_request, apply_alarm),
    KIND(LEASE_CHECKPOINT, LEASE_CHECKPOINT, "lease_checkpoint", etcdserverpb__lease_checkpoint_request,
         apply_lease_checkpoint),
    KIND(CLUSTER_VERSION_SET, CLUSTER_VERSION_SET, "cluster_version_set",
         membershippb__cluster_version_set_request, apply_cluster_version),
    KIND(CLUSTER_MEMBER_ATTR_SET, MEMBER_ATTRIBUTES_SET, "cluster_member_attr_set",
         membershippb__cluster_member_attr_set_request, apply_member_attributes),
    KIND(DOWNGRADE_INFO_SET, DOWNGRADE_INFO_SET, "downgrade_info_set",
         membershippb__downgrade_info_set_request, apply_downgrade),
    AUTH_KIND(AUTH_ENABLE, AUTH_ENABLE, "auth_enable", node_apply_auth_enable, true),
    AUTH_KIND(AUTH_DISABLE, AUTH_DISABLE, "auth_disable", node_apply_auth_disable, true),
    AUTH_KIND(AUTH_STATUS, AUTH_STATUS, "auth_status", node_apply_auth_status, true),
    AUTH_KIND(AUTHENTICATE, AUTHENTICATE, "authenticate", node_apply_authenticate, false),
    AUTH_KIND(AUTH_USER_ADD, AUTH_USER_ADD, "auth_user_add", node_apply_user_add, true),
    AUTH_KIND(AUTH_USER_CHANGE_PASSWORD, AUTH_USER_CHANGE_PASSWORD, "auth_user_change_password",
              node_apply_user_change_password, true),
    AUTH_KIND(AUTH_USER_DELETE, AUTH_USER_DELETE, "auth_user_delete", node_apply_user_delete, true),
    AUTH_KIND(AUTH_USER_GET, AUTH_USER_GET, "auth_user_get", node_apply_user_get, false),
    AUTH_KIND(AUTH_USER_LIST, AUTH_USER_LIST, "auth_user_list", node_apply_user_list, true),
    AUTH_KIND(AUTH_USER_GRANT_ROLE, AUTH_USER_GRANT_ROLE, "auth_user_grant_role", node_apply_user_grant_role,
              true),
    AUTH_KIND(AUTH_USER_REVOKE_ROLE, AUTH_USER_REVOKE_ROLE, "auth_user_revoke_role",
              node_apply_user_revoke_role, true),
    AUTH_KIND(AUTH_ROLE_ADD, AUTH_ROLE_ADD, "auth_role_add", node_apply_role_add, true),
    AUTH_KIND(AUTH_ROLE_DELETE, AUTH_ROLE_DELETE, "auth_role_delete", node_apply_role_delete, true),
    AUTH_KIND(AUTH_ROLE_GET, AUTH_ROLE_GET, "auth_role_get", node_apply_role_get, false),
    AUTH_KIND(AUTH_ROLE_LIST, AUTH_ROLE_LIST, "auth_role_list", node_apply_role_list, true),
    AUTH_KIND(AUTH_ROLE_GRANT_PERMISSION, AUTH_ROLE_GRANT_PERMISSION, "auth_role_grant_permission",
              node_apply_role_grant_permission, true),
    AUTH_KIND(AUTH_ROLE_REVOKE_PERMISSION, AUTH_ROLE_REVOKE_PERMISSION, "auth_role_revoke_permission",
              node_apply_role_revoke_permission, true),
};

static const struct entry_kind *kind_of(uint32_t field)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].field == field) return &kinds[i];
    return NULL;
}

/* Entries that only read have no effect and are answered by whoever asked; a range is the one kind that etcd
 * ever logged. */
static bool is_read(uint32_t field)
{
    return field == NODE_FIELD_RANGE;
}

/* ---- one entry ---- */

static enum api_error authorize(struct node *node, const struct entry_kind *kind,
                                const struct node_application *application)
{
    const struct auth_check check = {.store = node->auth,
                                     .lessor = node->lessor,
                                     .identity = &application->view.identity};
    if (kind->for_admin) return auth_check_admin(node->auth, check.identity);
    return kind->check == NULL ? API_OK : kind->check(&check, application->message);
}

static struct error *run_kind(struct node *node, const struct entry_kind *kind,
                              struct node_application *application)
{
    uint64_t cost = kind->cost == NULL ? 0 : kind->cost(application->message);
    if (kind->blocked_corrupt && node_alarm_active(node, ETCDSERVERPB__ALARM_TYPE__CORRUPT)) {
        application->status = API_ERROR_CORRUPT;
        return NULL;
    }
    if (cost > 0 && node_alarm_active(node, ETCDSERVERPB__ALARM_TYPE__NOSPACE)) {
        application->status = API_ERROR_NO_SPACE;
        return NULL;
    }
    application->status = authorize(node, kind, application);
    if (application->status != API_OK) return NULL;
    bool room = node_has_room(node, cost);
    if (application->response != NULL) buf_clear(application->response);
    TRY(kind->apply(node, application));
    if (!room && application->status == API_OK) application->status = API_ERROR_NO_SPACE;
    return NULL;
}

static void answer(struct node *node, struct node_application *application)
{
    struct node_request *request = application->waiter;
    if (request == NULL) return;
    if (application->view.field == NODE_FIELD_ALARM && request->operation != NODE_ALARM) {
        node_reply(node, request, API_ERROR_NO_SPACE); /* it waited for the alarm that it caused */
        return;
    }
    if (request->operation == NODE_COMPACT &&
        ((const Etcdserverpb__CompactionRequest *)request->message)->physical &&
        (application->status == API_OK || application->status == API_ERROR_COMPACTED)) {
        request->node.lease = mvcc_compact_revision(node->store);
        request->error = application->status;
        node_queue_put(&node->compactions, request);
        return;
    }
    node_reply(node, request, application->status);
}

static struct error *decode(struct node *node, const struct entry_kind *kind,
                            struct node_application *application)
{
    struct error *error = NULL;
    if (kind->descriptor == NULL) return NULL;
    const ProtobufCMessage *asked = application->waiter == NULL ? NULL : application->waiter->message;
    if (asked != NULL && asked->descriptor == kind->descriptor) {
        application->message = asked; /* the very request these bytes were made from */
        return NULL;
    }
    application->message = message_unpack(kind->descriptor, application->view.message, node->arena, &error);
    if (application->message == NULL)
        return error_wrap(error, "entry %llu", (unsigned long long)application->entry->index);
    return NULL;
}

static struct error *apply_request(struct node *node, const struct raft_entry *entry)
{
    struct node_application application = {.entry = entry};
    struct bytes data = blob_bytes(entry->data);
    if (!view_entry(data, &application.view) || application.view.field == 0)
        return node_apply_v2_request(node, entry);
    if (is_read(application.view.field)) return NULL;
    const struct entry_kind *kind = kind_of(application.view.field);
    if (kind == NULL)
        return error_new(
            ERROR_INVALID,
            "entry %llu is of a kind (field %u) that this server cannot apply; it must not serve without it",
            (unsigned long long)entry->index, application.view.field);
    application.waiter = node_take_waiter(node, application.view.id);
    application.response = application.waiter == NULL ? NULL : &node->scratch;
    arena_reset(node->arena);
    TRY(decode(node, kind, &application));
    uint64_t began = node_clock(node);
    TRY(run_kind(node, kind, &application));
    if (application.waiter != NULL) application.waiter->node.began = began;
    node_observe(node, &(const struct node_observation){
                           .request = application.waiter,
                           .histogram = &node->metrics.apply[kind - kinds][application.status == API_OK],
                           .began = began,
                           .prefix = "",
                           .field_name = kind->name,
                           .id = application.view.id,
                           .message = application.message,
                           .response_size = application.response == NULL ? 0 : application.response->size,
                           .status = application.status,
                       });
    if (application.status == API_ERROR_NO_SPACE &&
        !node_alarm_active(node, ETCDSERVERPB__ALARM_TYPE__NOSPACE))
        node_alarm_no_space(node);
    answer(node, &application);
    return NULL;
}

/* The first entry of a leader's term, without data: from here on this member may expire leases, and the
 * extension makes up for the time nobody did. */
static void first_of_term(struct node *node)
{
    int64_t election = node->config.tick * node->config.election_ticks;
    if (node->soft.role == RAFT_LEADER) lessor_promote(node->lessor, election, node->now);
}

/* What the backend holds already has had its effects, on membership and raft's configuration too (recover.c).
 */
static struct error *apply_effects(struct node *node, const struct raft_entry *entry)
{
    bool is_empty = entry->data == NULL || entry->data->size == 0;
    if (entry->index > backend_consistent_index(node->backend)) {
        if (entry->type != RAFT_ENTRY_NORMAL)
            TRY(node_apply_conf_change(node, entry));
        else if (!is_empty)
            TRY(apply_request(node, entry));
        backend_set_consistent(node->backend, entry->index, entry->term);
    }
    if (entry->type == RAFT_ENTRY_NORMAL && is_empty) first_of_term(node);
    return NULL;
}

static struct error *apply_entry(struct node *node, const struct raft_entry *entry)
{
    assert(entry->index == node->applied + 1);
    TRY(apply_effects(node, entry));
    node->applied = entry->index;
    node->applied_term = entry->term;
    return NULL;
}

/* ---- batches ---- */

static struct error *apply_batch(struct node *node, struct node_apply_batch *batch, size_t *budget)
{
    struct raft_entries *entries = &batch->message.entries;
    while (batch->next<entries->count && * budget> 0 && !node_backend_is_behind(node)) {
        TRY(apply_entry(node, &entries->items[batch->next]));
        batch->next++;
        --*budget;
        node_seal_when_due(node);
    }
    return NULL;
}

struct error *node_apply_some(struct node *node)
{
    size_t budget = ENTRIES_PER_RUN;
    struct node_apply_batch *batch;
    if (node_is_installing(node)) return NULL;
    while ((batch = STAILQ_FIRST(&node->apply_queue)) != NULL) {
        TRY(apply_batch(node, batch, &budget));
        if (batch->next < batch->message.entries.count) {
            /* Out of budget: go on after taking inputs. Waiting for the backend: its completion wakes us. */
            node->more = node->more || budget == 0;
            return NULL;
        }
        STAILQ_REMOVE_HEAD(&node->apply_queue, link);
        node_deliver(node, &batch->message.responses);
        raft_message_deinit(&batch->message);
        free(batch);
    }
    return NULL;
}
