/* corruption: what the hashes of all members say about their data. Decisions only; who asks, and what is done
 * about an answer, is the caller's business (server/corruption_monitor.h).
 *
 * Every member applies the same entries, so that HashKV at one revision, relative to one compaction, is the
 * same number everywhere. Where it is not, a disk, a memory or a program has changed somebody's data. Three
 * checks, etcd's, find that:
 *
 *     initial     a member that restarts compares itself with the others before it serves
 *     periodic    the leader compares the others with itself, at its newest revision
 *     compaction  the leader compares the hashes that everybody took while compacting, which cost nothing
 *
 * Hashes relative to different compactions cannot be compared. Nothing is repaired: the member that is named
 * gets a CORRUPT alarm, under which the cluster takes no more writes.
 */
#ifndef CLUSTER_CORRUPTION_H
#define CLUSTER_CORRUPTION_H

#include "cluster/cluster.h"

/* A HashKV answer. */
struct corruption_hash {
    uint32_t hash;
    int64_t revision;         /* the state that was hashed */
    int64_t compact_revision; /* that it is relative to; -1: none yet */
    int64_t current_revision; /* of the member when it answered */
};

enum corruption_reply {
    CORRUPTION_ANSWERED,
    CORRUPTION_SILENT,        /* no answer, or one that cannot be understood */
    CORRUPTION_IS_BEHIND,     /* the revision lies in that member's future */
    CORRUPTION_HAS_COMPACTED, /* it has compacted beyond that revision */
    CORRUPTION_OTHER_CLUSTER,
};

/* What another member said. */
struct corruption_answer {
    uint64_t member_id;
    enum corruption_reply reply;
    struct corruption_hash hash; /* when it answered */
};

/* What is to be said about one answer. */
enum corruption_finding {
    CORRUPTION_NOT_COMPARED, /* no hash, or one that is relative to another compaction */
    CORRUPTION_NONE,
    CORRUPTION_HASH_DIFFERS,
    CORRUPTION_REVISION_AHEAD,   /* of the leader's, which cannot be */
    CORRUPTION_COMPACTION_AHEAD, /* likewise */
};

/* Initial check: another member's hash against the own one at the same revision. */
enum corruption_finding corruption_compare(const struct corruption_hash *own,
                                           const struct corruption_answer *answer);

/* Periodic check. `before` is the leader's hash, at whose revision the others were asked; `after` its hash
 * once a linearizable read has proven that it still leads. */
enum corruption_finding corruption_compare_leader(const struct corruption_hash *before,
                                                  const struct corruption_hash *after);
enum corruption_finding corruption_compare_follower(const struct corruption_hash *before,
                                                    const struct corruption_hash *after,
                                                    const struct corruption_answer *answer);

/* Compaction check. */
enum corruption_outcome {
    CORRUPTION_INCOMPLETE, /* equal as far as it could be compared, but not everybody has answered: the hash
                              of an older compaction may tell more */
    CORRUPTION_ALL_EQUAL,  /* older ones need not be looked at, now or later */
    CORRUPTION_FOUND,
};

struct corruption_verdict {
    enum corruption_outcome outcome;
    /* Who is to be named: those that differ from a majority of all members; a single 0 when there is no such
     * majority, so that nobody knows who is wrong. */
    uint64_t members[CLUSTER_MEMBERS_MAX];
    size_t member_count;
};

/* `answers`: one for each other member, at most CLUSTER_MEMBERS_MAX - 1. */
void corruption_judge_compaction(uint64_t own_id, const struct corruption_hash *own,
                                 const struct corruption_answer *answers, size_t count,
                                 struct corruption_verdict *verdict);

#endif
