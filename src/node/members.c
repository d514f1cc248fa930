/* Membership as applied entries change it, and what a member does by itself for it: publish its name, and,
 * when it leads, propose the cluster version. */
#include "node/node_internal.h"

#include "api/message.h"
#include "base/wire.h"
#include "raft/codec.h"

#include "membership.pb-c.h"

#include <assert.h>
#include <stdio.h>

#define VERSION_INTERVAL (4 * NODE_SECOND)
#define VERSION_PATIENCE NODE_SECOND

/* ---- configuration changes ---- */

static struct error *tell_raft(struct node *node, const struct raft_conf_change *change)
{
    struct raft_conf_change_v2 v2 = {0};
    struct raft_conf_state state = {0};
    raft_conf_change_v2_from_v1(&v2, change);
    struct error *error = raft_apply_conf_change(node->raft, &v2, &state);
    if (error == NULL) cluster_conf_state_store(node->backend, &state);
    raft_conf_change_v2_deinit(&v2);
    raft_conf_state_deinit(&state);
    return error;
}

static void answer(struct node *node, uint64_t id, enum api_error status)
{
    struct node_request *request = node_take_waiter(node, id);
    if (request == NULL) return;
    if (status == API_OK)
        node_answer_member_change(node, request);
    else
        node_reply(node, request, status);
}

/* A change that cannot be understood is refused like one that breaks a rule: by every member alike. */
static enum api_error check_change(struct node *node, const struct raft_conf_change *conf_change,
                                   struct cluster_change *change)
{
    struct error *error = cluster_change_parse(conf_change, change);
    if (error == NULL) return cluster_check_change(node->cluster, change);
    log_warn(node->logger, "refused a configuration change that cannot be understood",
             LOG_STRING("error", error->text));
    error_free(error);
    return API_ERROR_MEMBER_BAD_URLS;
}

struct error *node_apply_conf_change(struct node *node, const struct raft_entry *entry)
{
    if (entry->type != RAFT_ENTRY_CONF_CHANGE)
        return error_new(ERROR_INVALID, "entry %llu is a joint configuration change, which etcd never writes",
                         (unsigned long long)entry->index);
    struct raft_conf_change conf_change;
    struct cluster_change change = {0};
    memset(&conf_change, 0, sizeof(conf_change));
    struct error *error = raft_decode_conf_change(&conf_change, blob_bytes(entry->data));
    if (error != NULL) return error_wrap(error, "entry %llu", (unsigned long long)entry->index);
    enum api_error status = check_change(node, &conf_change, &change);
    if (status == API_OK)
        cluster_apply_change(node->cluster, node->backend, &change);
    else
        conf_change.node_id = RAFT_NONE; /* refused: raft only takes note that the change is over */
    node->membership_changed = node->membership_changed || status == API_OK;
    error = tell_raft(node, &conf_change);
    if (status == API_OK && change.kind == CLUSTER_REMOVE && change.member.id == node->config.member_id) {
        node->removed = true;
        (void)node_hand_over(node); /* else the others would wait for its silence */
    }
    cluster_change_deinit(&change);
    if (error == NULL) answer(node, conf_change.id, status);
    return error;
}

/* ---- attributes and versions ---- */

void node_set_attributes(struct node *node, uint64_t id, const char *name,
                         const struct cluster_urls *client_urls)
{
    enum api_error status = cluster_set_attributes(node->cluster, node->backend, id, name, client_urls);
    if (status != API_OK) {
        log_warn(node->logger, "ignored attributes of an unknown member", LOG_HEX("member-id", id));
        return;
    }
    node->membership_changed = true;
    if (id != node->config.member_id || node->published) return;
    node->published = true;
    struct buf attributes = {0};
    buf_printf(&attributes, "{Name:%s ClientURLs:[", name);
    for (size_t i = 0; i < client_urls->count; i++)
        buf_printf(&attributes, "%s%s", i == 0 ? "" : " ", client_urls->items[i]);
    buf_append_string(&attributes, "]}");
    log_info(node->logger, "published local member to cluster through raft", LOG_HEX("local-member-id", id),
             LOG_STRING("local-member-attributes", buf_string(&attributes)),
             LOG_HEX("cluster-id", node->config.cluster_id),
             LOG_DURATION("publish-timeout", node->request_timeout));
    buf_deinit(&attributes);
}

void node_format_version(char text[NODE_VERSION_SIZE], struct version version)
{
    snprintf(text, NODE_VERSION_SIZE, "%u.%u.%u", version.major, version.minor, version.patch);
}

char *node_stored_version(struct node *node, char text[NODE_VERSION_SIZE])
{
    bool found = false;
    struct bytes value = BYTES_EMPTY;
    struct error *error =
        backend_get(node->backend, BUCKET_META, BYTES_LITERAL("storageVersion"), &found, &value);
    text[0] = '\0';
    if (error == NULL && found && value.size < NODE_VERSION_SIZE) {
        memcpy(text, value.data, value.size);
        text[value.size] = '\0';
    }
    error_free(error);
    return text;
}

char *node_storage_version(struct node *node, char text[NODE_VERSION_SIZE])
{
    struct version cluster;
    node_stored_version(node, text);
    if (text[0] == '\0' && cluster_version(node->cluster, &cluster) &&
        version_compare_minor(cluster, version_of(3, 5)) >= 0)
        node_format_version(text, version_of(3, 5)); /* the schema that has no name yet */
    return text;
}

struct error *node_check_cluster_version(const struct node *node, struct version version)
{
    struct version own;
    if (!version_parse(bytes_from_string(node->config.version), &own) ||
        version_compare_minor(own, version) >= 0)
        return NULL;
    return error_new(
        ERROR_INVALID,
        "invalid downgrade; server version is lower than determined cluster version: this is %s, the "
        "cluster is at %u.%u",
        node->config.version, version.major, version.minor);
}

struct error *node_set_cluster_version(struct node *node, struct version version)
{
    struct version before;
    char text[NODE_VERSION_SIZE];
    TRY(node_check_cluster_version(node, version));
    bool had = cluster_version(node->cluster, &before);
    cluster_set_version(node->cluster, node->backend, version);
    node->membership_changed = true;
    /* The schema follows the cluster: 3.6 is the first that names its version. */
    node_format_version(text, version_of(version.major, version.minor));
    if (version_compare_minor(version, version_of(3, 6)) >= 0)
        backend_put(node->backend, BUCKET_META, BYTES_LITERAL("storageVersion"), bytes_from_string(text));
    else
        backend_delete(node->backend, BUCKET_META, BYTES_LITERAL("storageVersion"));
    snprintf(text, sizeof(text), "%u.%u", version.major, version.minor);
    log_info(node->logger, had ? "updated cluster version" : "set initial cluster version",
             LOG_HEX("cluster-id", node->config.cluster_id),
             LOG_HEX("local-member-id", node->config.member_id), LOG_STRING("cluster-version", text));
    log_info(node->logger, "enabled capabilities for version", LOG_STRING("cluster-version", text));
    log_info(node->logger, "cluster version is updated", LOG_STRING("cluster-version", text));
    return NULL;
}

struct error *node_apply_v2_request(struct node *node, const struct raft_entry *entry)
{
    struct bytes data = blob_bytes(entry->data);
    if (!cluster_is_v2_request(data)) {
        struct wire_reader reader = wire_reader_of(data);
        struct wire_field field;
        bool found = false;
        while (!found && wire_next(&reader, &field))
            found = field.number == NODE_FIELD_V2 && field.type == WIRE_LENGTH;
        if (!found)
            return error_new(ERROR_CORRUPT, "entry %llu holds no request that any etcd knows",
                             (unsigned long long)entry->index);
        data = field.bytes;
    }
    struct cluster_v2_request request = {0};
    struct error *error = cluster_v2_request_parse(data, &request);
    if (error != NULL) return error_wrap(error, "entry %llu", (unsigned long long)entry->index);
    if (request.kind == CLUSTER_V2_ATTRIBUTES)
        node_set_attributes(node, request.member.id, request.member.name, &request.member.client_urls);
    else if (request.kind == CLUSTER_V2_VERSION)
        error = node_set_cluster_version(node, request.version);
    cluster_v2_request_deinit(&request);
    return error;
}

/* ---- what a member does by itself ---- */

void node_publish(struct node *node)
{
    if (node->published || node->stopped || node->removed || node->soft.lead == RAFT_NONE) return;
    if (node->publishing && node->now < node->publish_retry) return;
    Membershippb__ClusterMemberAttrSetRequest request = MEMBERSHIPPB__CLUSTER_MEMBER_ATTR_SET_REQUEST__INIT;
    Membershippb__Attributes attributes = MEMBERSHIPPB__ATTRIBUTES__INIT;
    attributes.name = (char *)(uintptr_t)node->config.name;
    attributes.client_urls = (char **)(uintptr_t)node->config.client_urls;
    attributes.n_client_urls = node->config.client_url_count;
    request.member_id = node->config.member_id;
    request.member_attributes = &attributes;
    buf_clear(&node->scratch);
    message_pack(&node->scratch, &request.base);
    node_propose_internal(node, NODE_FIELD_MEMBER_ATTRIBUTES_SET, buf_bytes(&node->scratch));
    node->publishing = true;
    node->publish_retry = node->now + node->request_timeout;
}

/* Forgets members that are gone. */
static void drop_old_versions(struct node *node)
{
    size_t kept = 0;
    for (size_t i = 0; i < node->version_count; i++)
        if (cluster_member(node->cluster, node->versions[i].id) != NULL)
            node->versions[kept++] = node->versions[i];
    node->version_count = kept;
}

static struct node_member_version *find_peer(struct node *node, uint64_t id)
{
    for (size_t i = 0; i < node->version_count; i++)
        if (node->versions[i].id == id) return &node->versions[i];
    return NULL;
}

struct node_member_version *node_know_peer(struct node *node, uint64_t id)
{
    drop_old_versions(node);
    struct node_member_version *known = find_peer(node, id);
    if (known != NULL || cluster_member(node->cluster, id) == NULL) return known;
    assert(node->version_count < CLUSTER_MEMBERS_MAX);
    known = &node->versions[node->version_count++];
    *known = (struct node_member_version){.id = id};
    return known;
}

void node_peer_version(struct node *node, uint64_t id, const char *version)
{
    struct version parsed;
    if (version == NULL || !version_parse(bytes_from_string(version), &parsed)) parsed = (struct version){0};
    struct node_member_version *known = node_know_peer(node, id);
    if (known == NULL || version_compare(known->version, parsed) == 0) return;
    known->version = parsed;
    node->version_next = node->now;
}

/* The lowest server version among the members; zero when one of them is not known. */
static struct version lowest_version(struct node *node)
{
    struct version lowest;
    if (!version_parse(bytes_from_string(node->config.version), &lowest)) return (struct version){0};
    for (size_t i = 0; i < cluster_member_count(node->cluster); i++) {
        uint64_t id = cluster_member_at(node->cluster, i)->id;
        if (id == node->config.member_id) continue;
        const struct node_member_version *known = find_peer(node, id);
        if (known == NULL || version_is_zero(known->version)) return (struct version){0};
        if (version_compare(known->version, lowest) < 0) lowest = known->version;
    }
    return lowest;
}

/* What the cluster version may be raised to. A downgrade goes by what the members are. */
static struct version not_above_limit(struct node *node, struct version lowest)
{
    struct version highest;
    if (node->config.max_cluster_version == NULL || cluster_downgrade(node->cluster).enabled) return lowest;
    if (!version_parse_target(bytes_from_string(node->config.max_cluster_version), &highest)) return lowest;
    return version_compare_minor(highest, lowest) < 0 ? highest : lowest;
}

static int64_t version_interval(const struct node *node)
{
    bool by_downgrade = cluster_downgrade(node->cluster).enabled && node->config.downgrade_check_interval > 0;
    return by_downgrade ? node->config.downgrade_check_interval : VERSION_INTERVAL;
}

void node_hasten_version(struct node *node)
{
    int64_t due = node->now + version_interval(node);
    if (due < node->version_next) node->version_next = due;
}

void node_agree_on_version(struct node *node)
{
    struct version decided, before;
    /* Only once the first entry of the own term is applied is the view of the cluster complete. */
    if (node->now < node->version_next || !lessor_is_primary(node->lessor)) return;
    struct version lowest = not_above_limit(node, lowest_version(node));
    bool has_version = cluster_version(node->cluster, &before);
    /* Members that were just started get a moment to say what they are, before the lowest is assumed. */
    if (!has_version && version_is_zero(lowest) && node->now < node->leader_since + VERSION_PATIENCE) return;
    node->version_next = node->now + version_interval(node);
    if (!cluster_decide_version(node->cluster, lowest, &decided)) return;
    char text[NODE_VERSION_SIZE];
    snprintf(text, sizeof(text), "%u.%u", decided.major, decided.minor);
    log_info(node->logger,
             has_version ? "updating cluster version using v3 API"
                         : "setting up initial cluster version using v3 API",
             LOG_STRING("cluster-version", text));
    node_format_version(text, decided);
    buf_clear(&node->scratch);
    wire_bytes_field(&node->scratch, 1, bytes_from_string(text));
    node_propose_internal(node, NODE_FIELD_CLUSTER_VERSION_SET, buf_bytes(&node->scratch));
}

void node_write_members(struct node *node, struct buf *out, uint32_t field)
{
    for (size_t i = 0; i < cluster_member_count(node->cluster); i++)
        cluster_member_encode(out, field, cluster_member_at(node->cluster, i));
}

static bool has_other_voter(const struct node *node)
{
    for (size_t i = 0; i < cluster_member_count(node->cluster); i++) {
        const struct cluster_member *member = cluster_member_at(node->cluster, i);
        if (!member->is_learner && member->id != node->config.member_id) return true;
    }
    return false;
}

enum node_hand_over node_hand_over(struct node *node)
{
    struct raft_progress_status best = {0};
    if (!has_other_voter(node)) return NODE_HAND_OVER_ALONE;
    if (node->soft.role != RAFT_LEADER) return NODE_HAND_OVER_NOT_LEADER;
    for (size_t i = 0; i < raft_progress_count(node->raft); i++) {
        struct raft_progress_status other = raft_progress_at(node->raft, i);
        if (!other.voter || !other.recent_active || other.id == node->config.member_id) continue;
        if (best.id == RAFT_NONE || other.match > best.match) best = other;
    }
    if (best.id == RAFT_NONE) return NODE_HAND_OVER_NOBODY;
    log_info(node->logger, "leadership transfer starting", LOG_HEX("local-member-id", node->config.member_id),
             LOG_HEX("current-leader-member-id", node->config.member_id),
             LOG_HEX("transferee-member-id", best.id));
    raft_transfer_leader(node->raft, best.id);
    return NODE_HANDING_OVER;
}

void node_member_list(struct node *node, struct node_request *request)
{
    struct kv_header header = node_kv_header(node);
    buf_clear(&node->scratch);
    kv_header_write(&node->scratch, &header, 0); /* membership answers carry no revision */
    node_write_members(node, &node->scratch, 2);
    node_reply(node, request, API_OK);
}
