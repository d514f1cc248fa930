/* Conf changes: the only way members come, go and move. */
#include "base/memory.h"
#include "base/text.h"
#include "cluster/cluster_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define LONG_ENOUGH INT64_C(5000000000) /* nanoseconds a connection must have been up to be counted on */

static const enum raft_conf_change_type raft_types[] = {
    [CLUSTER_ADD] = RAFT_CONF_CHANGE_ADD_NODE,
    [CLUSTER_ADD_LEARNER] = RAFT_CONF_CHANGE_ADD_LEARNER_NODE,
    [CLUSTER_PROMOTE] = RAFT_CONF_CHANGE_ADD_NODE,
    [CLUSTER_REMOVE] = RAFT_CONF_CHANGE_REMOVE_NODE,
    [CLUSTER_UPDATE] = RAFT_CONF_CHANGE_UPDATE_NODE,
};

void cluster_change_deinit(struct cluster_change *change)
{
    cluster_member_deinit(&change->member);
    *change = (struct cluster_change){0};
}

/* ---- reading and writing ---- */

static enum cluster_change_kind kind_of(enum raft_conf_change_type type, bool is_promote)
{
    switch (type) {
    case RAFT_CONF_CHANGE_REMOVE_NODE:
        return CLUSTER_REMOVE;
    case RAFT_CONF_CHANGE_UPDATE_NODE:
        return CLUSTER_UPDATE;
    case RAFT_CONF_CHANGE_ADD_LEARNER_NODE:
        return is_promote ? CLUSTER_PROMOTE : CLUSTER_ADD_LEARNER;
    case RAFT_CONF_CHANGE_ADD_NODE:
        break;
    }
    return is_promote ? CLUSTER_PROMOTE : CLUSTER_ADD;
}

static struct error *check_urls(const struct cluster_member *member)
{
    if (member->peer_urls.count == 0) return error_new(ERROR_INVALID, "no valid URLs given");
    for (size_t i = 0; i < member->peer_urls.count; i++) {
        struct cluster_url url;
        TRY(cluster_url_parse(bytes_from_string(member->peer_urls.items[i]), &url));
    }
    return NULL;
}

static struct error *parse_context(const struct raft_conf_change *conf_change, struct cluster_change *change)
{
    bool is_promote = false;
    TRY(cluster_parse_member_fields(conf_change->context, &change->member, &is_promote));
    change->kind = kind_of(conf_change->type, is_promote);
    if (change->member.id != conf_change->node_id)
        return error_new(ERROR_INVALID, "it is about member %" PRIx64, change->member.id);
    /* What raft counts is what holds. */
    change->member.is_learner = change->kind == CLUSTER_ADD_LEARNER;
    return change->kind == CLUSTER_PROMOTE ? NULL : check_urls(&change->member);
}

struct error *cluster_change_parse(const struct raft_conf_change *conf_change, struct cluster_change *change)
{
    struct cluster_change parsed = {.kind = CLUSTER_REMOVE, .member = {.id = conf_change->node_id}};
    struct error *error = NULL;
    if (conf_change->node_id == RAFT_NONE)
        error = error_new(ERROR_INVALID, "0 is no member id");
    else if (conf_change->type == RAFT_CONF_CHANGE_REMOVE_NODE)
        parsed.member.name = mem_strdup("");
    else
        error = parse_context(conf_change, &parsed);
    if (error != NULL) {
        cluster_change_deinit(&parsed);
        return error_wrap(error, "conf change of member %" PRIx64, conf_change->node_id);
    }
    cluster_change_deinit(change);
    *change = parsed;
    return NULL;
}

void cluster_change_write(const struct cluster_change *change, struct buf *out,
                          struct raft_conf_change *conf_change)
{
    buf_clear(out);
    if (change->kind == CLUSTER_PROMOTE) {
        buf_printf(out, "{\"id\":%" PRIu64 ",\"peerURLs\":null,\"isPromote\":true}", change->member.id);
    } else if (change->kind != CLUSTER_REMOVE) {
        cluster_member_write(out, &change->member);
    }
    *conf_change = (struct raft_conf_change){
        .type = raft_types[change->kind],
        .node_id = change->member.id,
        .context = out->size == 0 ? BYTES_EMPTY : buf_bytes(out),
    };
}

/* ---- checking ---- */

static bool url_in_use(const struct cluster *cluster, const struct cluster_member *by)
{
    for (size_t i = 0; i < cluster->count; i++) {
        if (cluster->members[i].id == by->id) continue;
        for (size_t j = 0; j < by->peer_urls.count; j++)
            if (cluster_urls_contain(&cluster->members[i].peer_urls, by->peer_urls.items[j])) return true;
    }
    return false;
}

static enum api_error check_add(const struct cluster *cluster, const struct cluster_change *change)
{
    if (cluster_find(cluster, change->member.id) != NULL) return API_ERROR_MEMBER_EXIST;
    if (url_in_use(cluster, &change->member)) return API_ERROR_PEER_URL_EXIST;
    size_t learners = cluster->count - cluster_voter_count(cluster);
    if (change->kind == CLUSTER_ADD_LEARNER && learners >= cluster->options.max_learners)
        return API_ERROR_TOO_MANY_LEARNERS;
    return cluster->count < CLUSTER_MEMBERS_MAX ? API_OK : API_ERROR_TOO_MANY_REQUESTS;
}

enum api_error cluster_check_change(const struct cluster *cluster, const struct cluster_change *change)
{
    if (cluster_is_removed(cluster, change->member.id)) return API_ERROR_MEMBER_NOT_FOUND;
    if (change->kind == CLUSTER_ADD || change->kind == CLUSTER_ADD_LEARNER) return check_add(cluster, change);
    const struct cluster_member *member = cluster_find(cluster, change->member.id);
    if (member == NULL) return API_ERROR_MEMBER_NOT_FOUND;
    if (change->kind == CLUSTER_PROMOTE && !member->is_learner) return API_ERROR_MEMBER_NOT_LEARNER;
    if (change->kind == CLUSTER_UPDATE && url_in_use(cluster, &change->member))
        return API_ERROR_PEER_URL_EXIST;
    return API_OK;
}

/* ---- carrying out ---- */

static void note(const struct cluster *cluster, const struct cluster_change *change,
                 const struct cluster_member *member)
{
    const struct logger *logger = cluster->options.logger;
    struct log_field cluster_id = LOG_HEX("cluster-id", cluster->options.cluster_id);
    struct log_field local_id = LOG_HEX("local-member-id", cluster->options.local_id);
    const char *const *urls = (const char *const *)member->peer_urls.items;
    size_t count = member->peer_urls.count;
    switch (change->kind) {
    case CLUSTER_ADD:
    case CLUSTER_ADD_LEARNER:
        log_info(logger, "added member", cluster_id, local_id, LOG_HEX("added-peer-id", member->id),
                 LOG_STRINGS("added-peer-peer-urls", urls, count),
                 LOG_BOOL("added-peer-is-learner", member->is_learner));
        break;
    case CLUSTER_PROMOTE:
        log_info(logger, "promote member", cluster_id, local_id, LOG_HEX("promoted-member-id", member->id));
        break;
    case CLUSTER_REMOVE:
        log_info(logger, "removed member", cluster_id, local_id,
                 LOG_HEX("removed-remote-peer-id", member->id),
                 LOG_STRINGS("removed-remote-peer-urls", urls, count),
                 LOG_BOOL("removed-remote-peer-is-learner", member->is_learner));
        break;
    case CLUSTER_UPDATE:
        log_info(logger, "updated member", cluster_id, local_id,
                 LOG_HEX("updated-remote-peer-id", member->id),
                 LOG_STRINGS("updated-remote-peer-urls", urls, count),
                 LOG_BOOL("updated-remote-peer-is-learner", member->is_learner));
        break;
    }
}

static void remove_member(struct cluster *cluster, struct backend *backend,
                          const struct cluster_change *change)
{
    uint64_t id = change->member.id;
    const struct cluster_member *member = cluster_find(cluster, id);
    if (member != NULL) note(cluster, change, member);
    cluster_drop(cluster, id);
    raft_ids_insert(&cluster->removed, id);
    if (backend != NULL) cluster_store_removed(backend, id);
}

void cluster_apply_change(struct cluster *cluster, struct backend *backend,
                          const struct cluster_change *change)
{
    if (change->kind == CLUSTER_REMOVE) {
        remove_member(cluster, backend, change);
        return;
    }
    bool adds = change->kind == CLUSTER_ADD || change->kind == CLUSTER_ADD_LEARNER;
    struct cluster_member *member =
        adds ? cluster_find_or_add(cluster, change->member.id) : cluster_find(cluster, change->member.id);
    if (member == NULL) {
        assert(backend == NULL); /* a checked change has its member */
        return;
    }
    if (adds) {
        cluster_member_copy(member, &change->member);
    } else if (change->kind == CLUSTER_PROMOTE) {
        member->is_learner = false;
    } else {
        /* The addresses alone: whoever writes the whole member would turn a learner into a voter here. */
        cluster_urls_copy(&member->peer_urls, &change->member.peer_urls);
    }
    if (backend != NULL) cluster_store_member(backend, member);
    note(cluster, change, member);
}

/* ---- --strict-reconfig-check ---- */

/* Voters, other than `except`, that are there, have a name, and have been connected for long. */
struct tally {
    size_t voters;
    size_t started;
    size_t connected;
};

static struct tally count_voters(const struct cluster *cluster, uint64_t except,
                                 cluster_connected_for *connected_for, void *context)
{
    struct tally tally = {0};
    for (size_t i = 0; i < cluster->count; i++) {
        const struct cluster_member *member = &cluster->members[i];
        if (member->is_learner || member->id == except) continue;
        tally.voters++;
        tally.started += cluster_member_has_started(member);
        tally.connected +=
            member->id == cluster->options.local_id || connected_for(context, member->id) >= LONG_ENOUGH;
    }
    return tally;
}

static size_t quorum_of(size_t voters)
{
    return voters / 2 + 1;
}

static enum api_error check_strict_add(struct tally now, bool is_learner)
{
    /* One member cannot ask anybody: it may always become two. */
    bool first_of_two = now.voters == 1 && now.started == 1;
    if (!is_learner && !first_of_two && now.started < quorum_of(now.voters + 1))
        return API_ERROR_MEMBER_NOT_ENOUGH_STARTED;
    if (now.voters > 1 && now.connected < quorum_of(now.voters + 1)) return API_ERROR_UNHEALTHY;
    return API_OK;
}

static enum api_error check_strict_remove(const struct cluster *cluster, uint64_t id,
                                          cluster_connected_for *connected_for, void *context)
{
    const struct cluster_member *member = cluster_find(cluster, id);
    if (member != NULL && member->is_learner) return API_OK;
    struct tally others = count_voters(cluster, id, connected_for, context);
    if (others.started < quorum_of(others.voters)) return API_ERROR_MEMBER_NOT_ENOUGH_STARTED;
    /* Nothing is lost with one that is down. */
    if (id != cluster->options.local_id && connected_for(context, id) < 0) return API_OK;
    struct tally all = count_voters(cluster, RAFT_NONE, connected_for, context);
    size_t needed = 2 + (all.voters - 1) / 2;
    return all.connected < needed ? API_ERROR_UNHEALTHY : API_OK;
}

enum api_error cluster_check_strict(const struct cluster *cluster, const struct cluster_change *change,
                                    cluster_connected_for *connected_for, void *context)
{
    struct tally now = count_voters(cluster, RAFT_NONE, connected_for, context);
    switch (change->kind) {
    case CLUSTER_ADD:
    case CLUSTER_ADD_LEARNER:
        return check_strict_add(now, change->kind == CLUSTER_ADD_LEARNER);
    case CLUSTER_REMOVE:
        return check_strict_remove(cluster, change->member.id, connected_for, context);
    case CLUSTER_PROMOTE:
        /* The learner is asked to be in step before, so it counts as started. */
        return now.started + 1 < quorum_of(now.voters + 1) ? API_ERROR_MEMBER_NOT_ENOUGH_STARTED : API_OK;
    case CLUSTER_UPDATE:
        break;
    }
    return API_OK;
}
