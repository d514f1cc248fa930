/* confchange: from one configuration to the next (Raft dissertation, chapter 4).
 *
 * A simple change touches at most one voter. Anything larger goes through a joint configuration, in which
 * both the incoming and the outgoing voters must agree: enter it, then leave it. All functions work on a
 * copy: `next` (an initialised struct) becomes the new members, also with half a change in it after an error,
 * while `members` is untouched. New members start at `last_index`.
 */
#ifndef RAFT_CONFCHANGE_H
#define RAFT_CONFCHANGE_H

#include "raft/members.h"

/* Does this change go through a joint configuration, and is it left by itself? */
bool raft_confchange_enters_joint(const struct raft_conf_change_v2 *change, bool *auto_leave);
bool raft_confchange_leaves_joint(const struct raft_conf_change_v2 *change);

struct error *raft_confchange_simple(const struct raft_members *members, uint64_t last_index,
                                     const struct raft_conf_change_single *changes, size_t count,
                                     struct raft_members *next) __attribute__((warn_unused_result));
struct error *raft_confchange_enter_joint(const struct raft_members *members, uint64_t last_index,
                                          bool auto_leave, const struct raft_conf_change_single *changes,
                                          size_t count, struct raft_members *next)
    __attribute__((warn_unused_result));
struct error *raft_confchange_leave_joint(const struct raft_members *members, struct raft_members *next)
    __attribute__((warn_unused_result));
/* Whichever of the three the change asks for. */
struct error *raft_confchange_apply(const struct raft_members *members, uint64_t last_index,
                                    const struct raft_conf_change_v2 *change, struct raft_members *next)
    __attribute__((warn_unused_result));
/* The members that a stored configuration describes, from scratch; limits are taken from `members`.
 * ERROR_INVALID when the configuration is one that no sequence of changes can produce. */
struct error *raft_confchange_restore(const struct raft_members *members, uint64_t last_index,
                                      const struct raft_conf_state *state, struct raft_members *next)
    __attribute__((warn_unused_result));

#endif
