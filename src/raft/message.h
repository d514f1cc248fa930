/* message: Raft's structs as text, for logs, tests and the laboratory.
 *
 * The forms of etcd's Raft library, so that its logs and test files can be read beside ours. Ids are
 * lower-case hex in messages, decimal in states. Entry data is quoted with Go's %q; conf changes are shown as
 * v1 (add voter), l1 (add learner), r1 (remove), u1 (update).
 */
#ifndef RAFT_MESSAGE_H
#define RAFT_MESSAGE_H

#include "base/buf.h"
#include "raft/raft.h"

const char *raft_message_type_name(enum raft_message_type type); /* "MsgAppResp" */
const char *raft_entry_type_name(enum raft_entry_type type);
const char *raft_role_name(enum raft_role role); /* "StateLeader" */
const char *raft_conf_change_type_name(enum raft_conf_change_type type);
const char *raft_transition_name(enum raft_conf_change_transition transition);
const char *raft_progress_state_name(enum raft_progress_state state);

void raft_describe_entry(struct buf *out, const struct raft_entry *entry); /* 1/2 EntryNormal "data" */
void raft_describe_soft_state(struct buf *out, struct raft_soft_state state);
void raft_describe_hard_state(struct buf *out, struct raft_hard_state state);
void raft_describe_conf_state(struct buf *out, const struct raft_conf_state *state);
void raft_describe_snapshot(struct buf *out, const struct raft_snapshot *snapshot);
/* The configuration as in voters=(1 2)&&(1) learners=(3); ids in decimal. */
void raft_describe_config(struct buf *out, const struct raft_conf_state *config);
void raft_describe_progress(struct buf *out, const struct raft_progress_status *progress);
/* The changes of a conf change, v1 r2; and the whole of it, as in a log line. */
void raft_describe_changes(struct buf *out, const struct raft_conf_change_v2 *change);
void raft_describe_conf_change(struct buf *out, const struct raft_conf_change_v2 *change);
/* No line feed at the end. */
void raft_describe_message(struct buf *out, const struct raft_message *message);
/* Several lines, each ended; "<empty Ready>" alone when there is nothing. */
void raft_describe_ready(struct buf *out, const struct raft_ready *ready);

#endif
