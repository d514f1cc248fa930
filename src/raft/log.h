/* log: the replicated log as the member sees it (Raft paper, 5.3), storage and unstable tail as one.
 *
 *     first ... applied ... applying ... committed ... last
 *
 * applied: what the application has reported; applying: what was handed to it; committed: what is known to be
 * on a quorum. applied <= applying <= committed <= last, always. How much may be handed out and not yet
 * reported is limited in bytes.
 */
#ifndef RAFT_LOG_H
#define RAFT_LOG_H

#include "raft/unstable.h"

struct raft_log {
    struct raft_storage *storage;
    struct raft_unstable unstable;
    uint64_t committed;
    uint64_t applying;
    uint64_t applied;
    uint64_t max_applying_size;
    uint64_t applying_size; /* encoded bytes between applied and applying */
    bool applying_paused;
    const struct logger *logger;
};

void raft_log_init(struct raft_log *log, struct raft_storage *storage, uint64_t max_applying_size,
                   const struct logger *logger);
void raft_log_deinit(struct raft_log *log);

uint64_t raft_log_first_index(const struct raft_log *log);
uint64_t raft_log_last_index(const struct raft_log *log);
uint64_t raft_log_last_term(const struct raft_log *log);
/* RAFT_COMPACTED, RAFT_UNAVAILABLE outside [first - 1, last]. */
enum raft_result raft_log_term(const struct raft_log *log, uint64_t index, uint64_t *term);
uint64_t raft_log_term_or_zero(const struct raft_log *log, uint64_t index);
bool raft_log_matches(const struct raft_log *log, uint64_t index, uint64_t term);
/* Is a log that ends in (term, index) at least as up-to-date as this one (Raft paper, 5.4.1)? */
bool raft_log_is_up_to_date(const struct raft_log *log, uint64_t term, uint64_t index);
/* Appends entries [low, high), cut by max_size, to `entries`. high <= last + 1. RAFT_COMPACTED. */
enum raft_result raft_log_slice(const struct raft_log *log, uint64_t low, uint64_t high, uint64_t max_size,
                                struct raft_entries *entries);
/* The same up to the end of the log; nothing when low is beyond. */
enum raft_result raft_log_entries_from(const struct raft_log *log, uint64_t low, uint64_t max_size,
                                       struct raft_entries *entries);
/* The unstable snapshot, or else the storage's, into an initialised struct. */
enum raft_result raft_log_snapshot(const struct raft_log *log, struct raft_snapshot *snapshot);

/* Appends entries whose terms and indexes are set, replacing conflicting ones; none may be committed. */
void raft_log_append(struct raft_log *log, const struct raft_entry *items, size_t count);

enum raft_append_result {
    RAFT_APPEND_OK,
    RAFT_APPEND_MISMATCH, /* the entry before is not here or has another term */
    RAFT_APPEND_CONFLICT, /* contradicts a committed entry, or is not contiguous: nobody who follows the
                             protocol sends it */
};

/* The follower's side of AppendEntries: entries that follow (index, term), and the leader's commit index. */
enum raft_append_result raft_log_maybe_append(struct raft_log *log, uint64_t index, uint64_t term,
                                              const struct raft_entry *items, size_t count, uint64_t commit,
                                              uint64_t *last_new);
/* Going downward from index, the first whose term is not above `term`, or is not known (then *found_term is
 * 0). */
uint64_t raft_log_find_conflict_by_term(const struct raft_log *log, uint64_t index, uint64_t term,
                                        uint64_t *found_term);

/* Never goes back. index <= last. */
void raft_log_commit_to(struct raft_log *log, uint64_t index);
/* The leader's rule: only an entry of its own term is committed by counting (Raft paper, 5.4.2). */
bool raft_log_maybe_commit(struct raft_log *log, uint64_t index, uint64_t term);
void raft_log_restore(struct raft_log *log, const struct raft_snapshot *snapshot);

/* Committed entries to hand out now. allow_unstable: also those that are not in storage yet. */
bool raft_log_has_next_committed(const struct raft_log *log, bool allow_unstable);
void raft_log_next_committed(const struct raft_log *log, bool allow_unstable, struct raft_entries *entries);
void raft_log_accept_applying(struct raft_log *log, uint64_t index, uint64_t size, bool allow_unstable);
void raft_log_applied_to(struct raft_log *log, uint64_t index, uint64_t size);

#endif
