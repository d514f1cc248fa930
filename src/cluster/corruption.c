#include "cluster/corruption.h"

#include <assert.h>

enum corruption_finding corruption_compare(const struct corruption_hash *own,
                                           const struct corruption_answer *answer)
{
    if (answer->reply != CORRUPTION_ANSWERED) return CORRUPTION_NOT_COMPARED;
    if (answer->hash.hash == own->hash) return CORRUPTION_NONE;
    return answer->hash.compact_revision == own->compact_revision ? CORRUPTION_HASH_DIFFERS
                                                                  : CORRUPTION_NOT_COMPARED;
}

enum corruption_finding corruption_compare_leader(const struct corruption_hash *before,
                                                  const struct corruption_hash *after)
{
    if (before->revision != after->revision || before->compact_revision != after->compact_revision)
        return CORRUPTION_NOT_COMPARED;
    return before->hash == after->hash ? CORRUPTION_NONE : CORRUPTION_HASH_DIFFERS;
}

enum corruption_finding corruption_compare_follower(const struct corruption_hash *before,
                                                    const struct corruption_hash *after,
                                                    const struct corruption_answer *answer)
{
    if (answer->reply != CORRUPTION_ANSWERED) return CORRUPTION_NOT_COMPARED;
    if (answer->hash.current_revision > after->current_revision) return CORRUPTION_REVISION_AHEAD;
    if (answer->hash.compact_revision > after->compact_revision) return CORRUPTION_COMPACTION_AHEAD;
    return corruption_compare(before, answer);
}

/* ---- compactions ---- */

/* A hash, and the member whose it is. */
struct vote {
    uint64_t member_id;
    uint32_t hash;
};

static size_t votes_for(const struct vote *votes, size_t count, uint32_t hash)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) found += votes[i].hash == hash;
    return found;
}

void corruption_judge_compaction(uint64_t own_id, const struct corruption_hash *own,
                                 const struct corruption_answer *answers, size_t count,
                                 struct corruption_verdict *verdict)
{
    struct vote votes[CLUSTER_MEMBERS_MAX] = {{own_id, own->hash}};
    size_t vote_count = 1, quorum = (count + 1) / 2 + 1;
    assert(count < CLUSTER_MEMBERS_MAX);
    *verdict = (struct corruption_verdict){.outcome = CORRUPTION_FOUND};
    for (size_t i = 0; i < count; i++)
        if (answers[i].reply == CORRUPTION_ANSWERED &&
            answers[i].hash.compact_revision == own->compact_revision)
            votes[vote_count++] = (struct vote){answers[i].member_id, answers[i].hash.hash};
    if (votes_for(votes, vote_count, own->hash) == vote_count) {
        verdict->outcome = vote_count == count + 1 ? CORRUPTION_ALL_EQUAL : CORRUPTION_INCOMPLETE;
        return;
    }
    const struct vote *right = votes;
    while (right < votes + vote_count && votes_for(votes, vote_count, right->hash) < quorum) right++;
    if (right == votes + vote_count) {
        verdict->members[verdict->member_count++] = 0;
        return;
    }
    for (size_t i = 0; i < vote_count; i++)
        if (votes[i].hash != right->hash) verdict->members[verdict->member_count++] = votes[i].member_id;
}
