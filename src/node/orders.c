/* What an operator orders the cluster to do: another leader (MoveLeader), another version (Downgrade). */
#include "node/node_internal.h"

#include "base/wire.h"

#include <stdio.h>

enum { DOWNGRADE_ENABLED_FIELD = 1, DOWNGRADE_VERSION_FIELD = 2, RESPONSE_VERSION_FIELD = 2 };

/* ---- MoveLeader ---- */

static enum api_error check_transferee(const struct node *node, uint64_t target)
{
    if (node->soft.role != RAFT_LEADER) return API_ERROR_NOT_LEADER;
    const struct cluster_member *member = cluster_member(node->cluster, target);
    return member == NULL || member->is_learner ? API_ERROR_BAD_LEADER_TRANSFEREE : API_OK;
}

void node_move_leader(struct node *node, struct node_request *request)
{
    uint64_t target = ((const Etcdserverpb__MoveLeaderRequest *)request->message)->targetid;
    enum api_error error = check_transferee(node, target);
    if (error != API_OK) {
        node_reply(node, request, error);
        return;
    }
    log_info(node->logger, "leadership transfer starting", LOG_HEX("local-member-id", node->config.member_id),
             LOG_HEX("current-leader-member-id", node->soft.lead), LOG_HEX("transferee-member-id", target));
    raft_transfer_leader(node->raft, target);
    node_queue_put(&node->transfers, request);
}

/* Raft gives a transfer up after an election timeout, and while it leads on nothing more will come of it. */
static bool is_given_up(const struct node *node, const struct node_request *request)
{
    if (node->now - request->submitted_at >= node->request_timeout) return true;
    return node->soft.role == RAFT_LEADER && raft_status(node->raft).lead_transferee == RAFT_NONE;
}

void node_answer_transfers(struct node *node)
{
    struct node_request *request, *next;
    for (request = TAILQ_FIRST(&node->transfers); request != NULL; request = next) {
        uint64_t target = ((const Etcdserverpb__MoveLeaderRequest *)request->message)->targetid;
        bool has_moved = node->soft.lead == target;
        next = TAILQ_NEXT(request, node.link);
        if (!has_moved && !is_given_up(node, request)) continue;
        node_queue_remove(request);
        if (has_moved)
            log_info(node->logger, "leadership transfer finished",
                     LOG_HEX("local-member-id", node->config.member_id),
                     LOG_HEX("old-leader-member-id", node->config.member_id),
                     LOG_HEX("new-leader-member-id", target),
                     LOG_DURATION("took", node->now - request->submitted_at));
        buf_clear(&node->scratch); /* the answer has not even a header */
        node_reply(node, request, has_moved ? API_OK : API_ERROR_LEADER_TRANSFER_TIMEOUT);
    }
}

/* ---- Downgrade ---- */

enum api_error node_check_downgrade_request(const Etcdserverpb__DowngradeRequest *request)
{
    struct version target;
    switch (request->action) {
    case ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__VALIDATE:
    case ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE:
        return version_parse_target(bytes_from_string(request->version), &target)
                   ? API_OK
                   : API_ERROR_WRONG_DOWNGRADE_VERSION_FORMAT;
    case ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL:
        return API_OK;
    default:
        return API_ERROR_UNKNOWN_METHOD;
    }
}

void node_begin_downgrade_response(struct node *node)
{
    struct version version;
    char text[NODE_VERSION_SIZE] = "";
    if (cluster_version(node->cluster, &version))
        snprintf(text, sizeof(text), "%u.%u", version.major, version.minor);
    node_begin_response(node);
    wire_bytes_field_nonempty(&node->scratch, RESPONSE_VERSION_FIELD, bytes_from_string(text));
}

/* As DowngradeInfoSetRequest into the log; the answer comes when it is applied. */
static void propose(struct node *node, struct node_request *request, bool enabled, struct version target)
{
    char text[NODE_VERSION_SIZE];
    node_format_version(text, version_of(target.major, target.minor));
    buf_clear(&node->scratch);
    wire_uint_field_nonzero(&node->scratch, DOWNGRADE_ENABLED_FIELD, enabled);
    if (enabled) wire_bytes_field(&node->scratch, DOWNGRADE_VERSION_FIELD, bytes_from_string(text));
    uint64_t id = node_propose_internal(node, NODE_FIELD_DOWNGRADE_INFO_SET, buf_bytes(&node->scratch));
    node_register_waiter(node, request, id, &node->proposed);
    node->more = true; /* proposals of this run have left already */
}

void node_downgrade(struct node *node, struct node_request *request)
{
    const Etcdserverpb__DowngradeRequest *asked = request->message;
    struct version target = {0};
    if (asked->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL) {
        propose(node, request, false, target);
        return;
    }
    (void)version_parse_target(bytes_from_string(asked->version), &target);
    enum api_error error = cluster_check_downgrade(node->cluster, target);
    if (error == API_OK && asked->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE) {
        propose(node, request, true, target);
        return;
    }
    if (error == API_OK) node_begin_downgrade_response(node);
    node_reply(node, request, error);
}
