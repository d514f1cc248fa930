#include "cluster/cluster.h"

#include "base/memory.h"
#include "base/wire.h"
#include "cluster/cluster_internal.h"
#include "storage/backend.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY_VERSION    BYTES_LITERAL("clusterVersion")
#define KEY_DOWNGRADE  BYTES_LITERAL("downgrade")
#define KEY_CONF_STATE BYTES_LITERAL("confState")
#define REMOVED        BYTES_LITERAL("removed")

/* ---- ids as text ---- */

void cluster_hex_id(char text[CLUSTER_HEX_ID_SIZE], uint64_t id)
{
    snprintf(text, CLUSTER_HEX_ID_SIZE, "%" PRIx64, id);
}

bool cluster_parse_hex_id(struct bytes text, uint64_t *id)
{
    if (text.size == 0 || text.size >= CLUSTER_HEX_ID_SIZE) return false;
    *id = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i], letter = (uint8_t)(c | 0x20);
        if (c >= '0' && c <= '9')
            *id = *id << 4 | (uint64_t)(c - '0');
        else if (letter >= 'a' && letter <= 'f')
            *id = *id << 4 | (uint64_t)(letter - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* ---- members ---- */

void cluster_member_deinit(struct cluster_member *member)
{
    cluster_urls_deinit(&member->peer_urls);
    cluster_urls_deinit(&member->client_urls);
    free(member->name);
    *member = (struct cluster_member){0};
}

void cluster_member_copy(struct cluster_member *to, const struct cluster_member *from)
{
    struct cluster_member copy = {.id = from->id, .is_learner = from->is_learner};
    copy.name = mem_strdup(from->name == NULL ? "" : from->name);
    cluster_urls_copy(&copy.peer_urls, &from->peer_urls);
    cluster_urls_copy(&copy.client_urls, &from->client_urls);
    cluster_member_deinit(to);
    *to = copy;
}

void cluster_member_encode(struct buf *out, uint32_t field, const struct cluster_member *member)
{
    size_t mark = wire_message_begin(out, field);
    wire_uint_field_nonzero(out, 1, member->id);
    wire_bytes_field_nonempty(out, 2, bytes_from_string(member->name));
    for (size_t i = 0; i < member->peer_urls.count; i++)
        wire_bytes_field(out, 3, bytes_from_string(member->peer_urls.items[i]));
    for (size_t i = 0; i < member->client_urls.count; i++)
        wire_bytes_field(out, 4, bytes_from_string(member->client_urls.items[i]));
    wire_uint_field_nonzero(out, 5, member->is_learner);
    wire_message_end(out, mark);
}

/* The position of the first member whose id is not below. */
static size_t position_of(const struct cluster *cluster, uint64_t id)
{
    size_t low = 0, high = cluster->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cluster->members[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct cluster_member *cluster_find(const struct cluster *cluster, uint64_t id)
{
    size_t position = position_of(cluster, id);
    bool found = position < cluster->count && cluster->members[position].id == id;
    return found ? &cluster->members[position] : NULL;
}

struct cluster_member *cluster_find_or_add(struct cluster *cluster, uint64_t id)
{
    struct cluster_member *found = cluster_find(cluster, id);
    if (found != NULL || cluster->count == CLUSTER_MEMBERS_MAX) return found;
    if (cluster->count == cluster->capacity) {
        cluster->capacity = cluster->capacity == 0 ? 8 : cluster->capacity * 2;
        cluster->members = mem_realloc(cluster->members, cluster->capacity * sizeof(cluster->members[0]));
    }
    size_t position = position_of(cluster, id);
    memmove(cluster->members + position + 1, cluster->members + position,
            (cluster->count - position) * sizeof(cluster->members[0]));
    cluster->count++;
    cluster->members[position] = (struct cluster_member){.id = id, .name = mem_strdup("")};
    return &cluster->members[position];
}

void cluster_drop(struct cluster *cluster, uint64_t id)
{
    struct cluster_member *member = cluster_find(cluster, id);
    if (member == NULL) return;
    cluster_member_deinit(member);
    cluster->count--;
    size_t position = (size_t)(member - cluster->members);
    memmove(member, member + 1, (cluster->count - position) * sizeof(*member));
}

void cluster_forget(struct cluster *cluster)
{
    while (cluster->count > 0) cluster_member_deinit(&cluster->members[--cluster->count]);
    raft_ids_deinit(&cluster->removed);
    cluster->removed = (struct raft_ids){0};
    cluster->has_version = false;
    cluster->downgrade = (struct cluster_downgrade){.enabled = false};
}

/* ---- making one ---- */

struct cluster *cluster_new(const struct cluster_options *options)
{
    struct cluster *cluster = mem_zalloc(1, sizeof(*cluster));
    cluster->options = *options;
    if (cluster->options.max_learners == 0) cluster->options.max_learners = 1;
    if (cluster->options.logger == NULL) cluster->options.logger = &log_discard;
    return cluster;
}

void cluster_free(struct cluster *cluster)
{
    if (cluster == NULL) return;
    cluster_forget(cluster);
    free(cluster->members);
    free(cluster);
}

struct cluster *cluster_copy(const struct cluster *cluster)
{
    struct cluster_options options = cluster->options;
    options.logger = NULL;
    struct cluster *copy = cluster_new(&options);
    for (size_t i = 0; i < cluster->count; i++)
        cluster_member_copy(cluster_find_or_add(copy, cluster->members[i].id), &cluster->members[i]);
    raft_ids_copy(&copy->removed, &cluster->removed);
    copy->has_version = cluster->has_version;
    copy->version = cluster->version;
    copy->downgrade = cluster->downgrade;
    return copy;
}

/* ---- rows ---- */

struct loading {
    struct cluster *cluster;
    struct error *error;
};

static bool load_member(void *context, struct bytes key, struct bytes value)
{
    struct loading *loading = context;
    struct cluster_member member = {0};
    uint64_t id;
    loading->error = cluster_member_parse(value, &member);
    if (loading->error == NULL && (!cluster_parse_hex_id(key, &id) || id != member.id))
        loading->error = error_new(ERROR_INVALID, "it is of member %" PRIx64, member.id);
    struct cluster_member *added =
        loading->error == NULL ? cluster_find_or_add(loading->cluster, member.id) : NULL;
    if (loading->error == NULL && added == NULL)
        loading->error = error_new(ERROR_INVALID, "there are more than %d members", (int)CLUSTER_MEMBERS_MAX);
    if (added != NULL) cluster_member_copy(added, &member);
    cluster_member_deinit(&member);
    if (loading->error == NULL) return true;
    loading->error = error_wrap(loading->error, "row %.*s of members", (int)key.size, (const char *)key.data);
    return false;
}

static bool load_removed(void *context, struct bytes key, struct bytes value)
{
    struct loading *loading = context;
    uint64_t id;
    (void)value;
    if (cluster_parse_hex_id(key, &id))
        raft_ids_insert(&loading->cluster->removed, id);
    else
        loading->error = error_new(ERROR_INVALID, "row %.*s of members_removed is not an id", (int)key.size,
                                   (const char *)key.data);
    return loading->error == NULL;
}

static struct error *load_versions(struct cluster *cluster, struct backend *backend)
{
    bool found;
    struct bytes value;
    TRY(backend_get(backend, BUCKET_CLUSTER, KEY_VERSION, &found, &value));
    if (found && !version_parse(value, &cluster->version))
        return error_new(ERROR_INVALID, "row clusterVersion is not a version: %.*s", (int)value.size,
                         (const char *)value.data);
    cluster->has_version = found;
    TRY(backend_get(backend, BUCKET_CLUSTER, KEY_DOWNGRADE, &found, &value));
    return found ? cluster_parse_downgrade(value, &cluster->downgrade) : NULL;
}

struct error *cluster_load(struct cluster *cluster, struct backend *backend)
{
    struct loading loading = {.cluster = cluster};
    cluster_forget(cluster);
    TRY(backend_scan(backend, BUCKET_MEMBERS, BYTES_EMPTY, BYTES_EMPTY, load_member, &loading));
    if (loading.error == NULL)
        TRY(backend_scan(backend, BUCKET_MEMBERS_REMOVED, BYTES_EMPTY, BYTES_EMPTY, load_removed, &loading));
    if (loading.error == NULL) loading.error = load_versions(cluster, backend);
    if (loading.error != NULL) {
        if (loading.error->kind == ERROR_INVALID) loading.error->kind = ERROR_CORRUPT;
        cluster_forget(cluster);
    }
    return loading.error;
}

static struct bytes hex_key(char text[CLUSTER_HEX_ID_SIZE], uint64_t id)
{
    cluster_hex_id(text, id);
    return bytes_from_string(text);
}

void cluster_store_member(struct backend *backend, const struct cluster_member *member)
{
    char hex[CLUSTER_HEX_ID_SIZE];
    struct buf json = {0};
    cluster_member_write(&json, member);
    backend_put(backend, BUCKET_MEMBERS, hex_key(hex, member->id), buf_bytes(&json));
    buf_deinit(&json);
}

void cluster_store_removed(struct backend *backend, uint64_t id)
{
    char hex[CLUSTER_HEX_ID_SIZE];
    backend_delete(backend, BUCKET_MEMBERS, hex_key(hex, id));
    backend_put(backend, BUCKET_MEMBERS_REMOVED, hex_key(hex, id), REMOVED);
}

static void store_version(struct backend *backend, struct version version)
{
    struct buf text = {0};
    version_format(&text, version);
    backend_put(backend, BUCKET_CLUSTER, KEY_VERSION, buf_bytes(&text));
    buf_deinit(&text);
}

static void store_downgrade(struct backend *backend, struct cluster_downgrade downgrade)
{
    struct buf json = {0};
    cluster_write_downgrade(&json, downgrade);
    backend_put(backend, BUCKET_CLUSTER, KEY_DOWNGRADE, buf_bytes(&json));
    buf_deinit(&json);
}

static bool collect_key(void *context, struct bytes key, struct bytes value)
{
    (void)value;
    cluster_urls_append(context, key);
    return true;
}

static struct error *delete_all(struct backend *backend, enum backend_bucket bucket)
{
    struct cluster_urls keys = {0};
    struct error *error = backend_scan(backend, bucket, BYTES_EMPTY, BYTES_EMPTY, collect_key, &keys);
    for (size_t i = 0; i < keys.count && error == NULL; i++)
        backend_delete(backend, bucket, bytes_from_string(keys.items[i]));
    cluster_urls_deinit(&keys);
    return error;
}

struct error *cluster_store(const struct cluster *cluster, struct backend *backend)
{
    TRY(delete_all(backend, BUCKET_MEMBERS));
    TRY(delete_all(backend, BUCKET_MEMBERS_REMOVED));
    for (size_t i = 0; i < cluster->count; i++) cluster_store_member(backend, &cluster->members[i]);
    for (size_t i = 0; i < cluster->removed.count; i++)
        cluster_store_removed(backend, cluster->removed.items[i]);
    if (cluster->has_version)
        store_version(backend, cluster->version);
    else
        backend_delete(backend, BUCKET_CLUSTER, KEY_VERSION);
    if (cluster->downgrade.enabled)
        store_downgrade(backend, cluster->downgrade);
    else
        backend_delete(backend, BUCKET_CLUSTER, KEY_DOWNGRADE);
    return NULL;
}

/* ---- looking ---- */

size_t cluster_member_count(const struct cluster *cluster)
{
    return cluster->count;
}

const struct cluster_member *cluster_member_at(const struct cluster *cluster, size_t position)
{
    assert(position < cluster->count);
    return &cluster->members[position];
}

const struct cluster_member *cluster_member(const struct cluster *cluster, uint64_t id)
{
    return cluster_find(cluster, id);
}

const struct cluster_member *cluster_local_member(const struct cluster *cluster)
{
    return cluster_find(cluster, cluster->options.local_id);
}

bool cluster_is_removed(const struct cluster *cluster, uint64_t id)
{
    return raft_ids_contain(&cluster->removed, id);
}

size_t cluster_removed_count(const struct cluster *cluster)
{
    return cluster->removed.count;
}

uint64_t cluster_removed_at(const struct cluster *cluster, size_t position)
{
    assert(position < cluster->removed.count);
    return cluster->removed.items[position];
}

size_t cluster_voter_count(const struct cluster *cluster)
{
    size_t voters = 0;
    for (size_t i = 0; i < cluster->count; i++) voters += !cluster->members[i].is_learner;
    return voters;
}

void cluster_conf_state(const struct cluster *cluster, struct raft_conf_state *state)
{
    struct raft_conf_state made = {0};
    for (size_t i = 0; i < cluster->count; i++)
        raft_ids_append(cluster->members[i].is_learner ? &made.learners : &made.voters,
                        cluster->members[i].id);
    raft_conf_state_deinit(state);
    *state = made;
}

/* ---- attributes and versions ---- */

enum api_error cluster_set_attributes(struct cluster *cluster, struct backend *backend, uint64_t id,
                                      const char *name, const struct cluster_urls *client_urls)
{
    struct cluster_member *member = cluster_find(cluster, id);
    if (member == NULL) return cluster_is_removed(cluster, id) ? API_OK : API_ERROR_MEMBER_NOT_FOUND;
    free(member->name);
    member->name = mem_strdup(name);
    cluster_urls_copy(&member->client_urls, client_urls);
    if (backend != NULL) cluster_store_member(backend, member);
    return API_OK;
}

bool cluster_version(const struct cluster *cluster, struct version *version)
{
    if (cluster->has_version) *version = cluster->version;
    return cluster->has_version;
}

void cluster_set_version(struct cluster *cluster, struct backend *backend, struct version version)
{
    cluster->has_version = true;
    cluster->version = version;
    if (backend != NULL) store_version(backend, version);
}

struct cluster_downgrade cluster_downgrade(const struct cluster *cluster)
{
    return cluster->downgrade;
}

void cluster_set_downgrade(struct cluster *cluster, struct backend *backend,
                           struct cluster_downgrade downgrade)
{
    if (!downgrade.enabled) downgrade.target = version_of(0, 0);
    cluster->downgrade = downgrade;
    if (backend != NULL) store_downgrade(backend, downgrade);
}

static bool is_one_minor_below(struct version lower, struct version version)
{
    return version.minor > 0 && lower.major == version.major && lower.minor == version.minor - 1;
}

enum api_error cluster_check_downgrade(const struct cluster *cluster, struct version target)
{
    if (!cluster->has_version) return API_ERROR_CLUSTER_VERSION_UNAVAILABLE;
    if (!is_one_minor_below(target, cluster->version)) return API_ERROR_INVALID_DOWNGRADE_TARGET_VERSION;
    return cluster->downgrade.enabled ? API_ERROR_DOWNGRADE_IN_PROCESS : API_OK;
}

bool cluster_decide_version(const struct cluster *cluster, struct version lowest, struct version *decided)
{
    bool known = !version_is_zero(lowest);
    if (!cluster->has_version) {
        *decided = known ? version_of(lowest.major, lowest.minor) : version_of(3, 0);
        return true;
    }
    if (!known) return false;
    struct version target = cluster->downgrade.target;
    if (cluster->downgrade.enabled) {
        *decided = version_of(target.major, target.minor);
        return is_one_minor_below(target, cluster->version) && is_one_minor_below(target, lowest);
    }
    *decided = version_of(lowest.major, lowest.minor);
    return lowest.major == cluster->version.major && version_compare_minor(cluster->version, lowest) < 0;
}

/* ---- confState row ---- */

void cluster_conf_state_store(struct backend *backend, const struct raft_conf_state *state)
{
    struct buf json = {0};
    cluster_conf_state_write(&json, state);
    backend_put(backend, BUCKET_META, KEY_CONF_STATE, buf_bytes(&json));
    buf_deinit(&json);
}

struct error *cluster_conf_state_load(struct backend *backend, bool *found, struct raft_conf_state *state)
{
    struct bytes value;
    TRY(backend_get(backend, BUCKET_META, KEY_CONF_STATE, found, &value));
    if (!*found) return NULL;
    struct error *error = cluster_conf_state_parse(value, state);
    if (error != NULL) error->kind = ERROR_CORRUPT;
    return error;
}
