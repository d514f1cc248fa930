/* MemberAdd, MemberRemove, MemberUpdate, MemberPromote: on their way into the log as configuration changes.
 * Rules that every member must apply alike are checked when the entry is applied (members.c); here stands
 * what only the member that was asked can see: well-formed addresses, and whether a quorum would be left
 * (--strict-reconfig-check). */
#include "node/node_internal.h"

#include "base/wire.h"

#define TICK_ADVANCE_PATIENCE (5 * NODE_SECOND)

enum { PROMOTE_MATCH_PERCENT = 90 };

static int64_t connected_for(void *context, uint64_t id)
{
    struct node *node = context;
    for (size_t i = 0; i < node->version_count; i++)
        if (node->versions[i].id == id && node->versions[i].active_since != 0)
            return node->now - node->versions[i].active_since;
    return -1;
}

/* A member that was restarted need not wait for a whole election timeout: it can be reached now, so a leader
 * that is there will be heard within two heartbeats. */
static void advance_initial_ticks(struct node *node)
{
    size_t active = 0;
    if (!node->may_advance_ticks) return;
    if (node->now - node->started_at > TICK_ADVANCE_PATIENCE) {
        node->may_advance_ticks = false;
        return;
    }
    for (size_t i = 0; i < node->version_count; i++) active += node->versions[i].active_since != 0;
    if (active < 2) return;
    node->may_advance_ticks = false;
    unsigned ticks = node->config.election_ticks - 2;
    log_info(node->logger, "initialized peer connections; fast-forwarding election ticks",
             LOG_HEX("local-member-id", node->config.member_id), LOG_UINT("forward-ticks", ticks),
             LOG_DURATION("forward-duration", (int64_t)ticks * node->config.tick),
             LOG_UINT("election-ticks", node->config.election_ticks),
             LOG_DURATION("election-timeout", (int64_t)node->config.election_ticks * node->config.tick),
             LOG_UINT("active-remote-members", active));
    for (unsigned i = 0; i < ticks && node->soft.lead == RAFT_NONE; i++) raft_tick(node->raft);
}

void node_peer_active(struct node *node, uint64_t id, int64_t since)
{
    struct node_member_version *known = node_know_peer(node, id);
    if (known == NULL) return;
    known->active_since = since;
    if (since != 0) advance_initial_ticks(node);
}

/* ---- what is asked for ---- */

static enum api_error check_urls(struct cluster_member *member, char *const *urls, size_t count)
{
    struct error *error = cluster_urls_check((const char *const *)urls, count, &member->peer_urls);
    bool ok = error == NULL;
    error_free(error);
    return ok ? API_OK : API_ERROR_MEMBER_BAD_URLS;
}

bool node_has_good_urls(const Etcdserverpb__MemberAddRequest *request)
{
    struct cluster_member member = {0};
    bool good = check_urls(&member, request->peerurls, request->n_peerurls) == API_OK;
    cluster_urls_deinit(&member.peer_urls);
    return good;
}

static enum api_error parse_add(struct node *node, const Etcdserverpb__MemberAddRequest *request,
                                struct cluster_change *change)
{
    change->kind = request->islearner ? CLUSTER_ADD_LEARNER : CLUSTER_ADD;
    change->member.is_learner = request->islearner;
    change->member.name = mem_strdup("");
    enum api_error error = check_urls(&change->member, request->peerurls, request->n_peerurls);
    if (error == API_OK)
        change->member.id = cluster_added_member_id(node->config.sha1, &change->member.peer_urls,
                                                    (int64_t)(node->wall_ms / 1000));
    return error;
}

static enum api_error parse_update(struct node *node, const Etcdserverpb__MemberUpdateRequest *request,
                                   struct cluster_change *change)
{
    const struct cluster_member *present = cluster_member(node->cluster, request->id);
    change->kind = CLUSTER_UPDATE;
    if (present == NULL) return API_ERROR_MEMBER_NOT_FOUND;
    cluster_member_copy(&change->member, present);
    cluster_urls_deinit(&change->member.peer_urls);
    change->member.peer_urls = (struct cluster_urls){0};
    return check_urls(&change->member, request->peerurls, request->n_peerurls);
}

/* A learner may vote once its log has nearly everything. */
static enum api_error parse_promote(struct node *node, uint64_t id, struct cluster_change *change)
{
    uint64_t own = 0, theirs = 0;
    bool found = false;
    change->kind = CLUSTER_PROMOTE;
    if (node->soft.role != RAFT_LEADER) return API_ERROR_NOT_LEADER;
    for (size_t i = 0; i < raft_progress_count(node->raft); i++) {
        struct raft_progress_status progress = raft_progress_at(node->raft, i);
        if (progress.id == node->config.member_id) own = progress.match;
        if (progress.id == id) {
            theirs = progress.match;
            found = true;
        }
    }
    const struct cluster_member *present = cluster_member(node->cluster, id);
    if (!found || present == NULL) return API_ERROR_MEMBER_NOT_FOUND;
    if (theirs < own / 100 * PROMOTE_MATCH_PERCENT + own % 100 * PROMOTE_MATCH_PERCENT / 100)
        return API_ERROR_LEARNER_NOT_READY;
    cluster_member_copy(&change->member, present);
    return API_OK;
}

static enum api_error parse_change(struct node *node, const struct node_request *request,
                                   struct cluster_change *change)
{
    switch (request->operation) {
    case NODE_MEMBER_ADD:
        return parse_add(node, request->message, change);
    case NODE_MEMBER_UPDATE:
        return parse_update(node, request->message, change);
    case NODE_MEMBER_PROMOTE:
        return parse_promote(node, ((const Etcdserverpb__MemberPromoteRequest *)request->message)->id,
                             change);
    default:
        change->kind = CLUSTER_REMOVE;
        change->member.id = ((const Etcdserverpb__MemberRemoveRequest *)request->message)->id;
        change->member.name = mem_strdup("");
        return API_OK;
    }
}

/* ---- proposing ---- */

/* Configuration changes wait as long as their client does: they have no timeout of their own. */
void node_change_members(struct node *node, struct node_request *request)
{
    struct cluster_change change = {0};
    enum api_error error = parse_change(node, request, &change);
    if (error == API_OK && node->config.strict_reconfig_check)
        error = cluster_check_strict(node->cluster, &change, connected_for, node);
    if (error == API_OK) error = cluster_check_change(node->cluster, &change);
    if (error != API_OK) {
        cluster_change_deinit(&change);
        request->for_leader = error == API_ERROR_NOT_LEADER;
        request->leader = node->soft.lead;
        node_reply(node, request, error);
        return;
    }
    struct buf context = {0};
    struct raft_conf_change conf_change = {0};
    cluster_change_write(&change, &context, &conf_change);
    conf_change.id = node_next_id(node);
    request->node.member = change.member.id;
    enum raft_result result = raft_propose_conf_change(node->raft, &conf_change);
    buf_deinit(&context);
    cluster_change_deinit(&change);
    if (result != RAFT_OK)
        node_reply_text(node, request, raft_result_text(result));
    else
        node_register_waiter(node, request, conf_change.id, &node->member_changes);
}

/* The answer: the new member, when there is one, and the list. */
void node_answer_member_change(struct node *node, struct node_request *request)
{
    struct kv_header header = node_kv_header(node);
    buf_clear(&node->scratch);
    kv_header_write(&node->scratch, &header, 0);
    const struct cluster_member *added =
        request->operation == NODE_MEMBER_ADD ? cluster_member(node->cluster, request->node.member) : NULL;
    if (added != NULL) cluster_member_encode(&node->scratch, 2, added);
    node_write_members(node, &node->scratch, request->operation == NODE_MEMBER_ADD ? 3 : 2);
    node_reply(node, request, API_OK);
}
