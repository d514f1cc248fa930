/* ranges: a set of keys as merged ranges, for asking whether all of a range lies in it.
 *
 * What a user may read (or write) is the union of the ranges of all permissions of all its roles. A request's
 * range is allowed when every key of it is in that union: two permissions that touch allow a range across
 * both, a gap of one key between them forbids it.
 *
 *     permissions   [a,c)  [b,f)  {f}  [h,∞)
 *     merged        [a, f\0)            [h,∞)          [a,f) and {f} inside, [e,h) not
 *
 * How ranges are written: api/keys.h. What is empty by that rule (an end at or before its key) adds nothing;
 * an empty key stands for no key here, as in etcd, not for the smallest. Pure; one thread.
 */
#ifndef AUTH_RANGES_H
#define AUTH_RANGES_H

#include "base/arena.h"

struct auth_range {
    struct bytes begin;
    struct bytes end; /* the first key behind it; unused when open */
    bool is_open;     /* no upper bound */
};

/* Zero-initialised is empty. */
struct auth_ranges {
    struct auth_range *items; /* merged */
    size_t count;
    struct auth_range *added; /* as they were added: see interval_tree.h */
    size_t added_count, capacity;
    struct arena *arena; /* what single keys' ends are made in */
};

void auth_ranges_deinit(struct auth_ranges *ranges);
/* Adds one permission's range; both are borrowed as long as the set lives. */
void auth_ranges_add(struct auth_ranges *ranges, struct bytes key, struct bytes range_end);
/* Once, after the last addition: only then may the set be asked. */
void auth_ranges_merge(struct auth_ranges *ranges);
/* Whether every key of the range is in the set. A range that is empty because its end is not above its key is
 * covered as etcd has it: not everywhere where its key is (interval_tree.h). */
bool auth_ranges_cover(const struct auth_ranges *ranges, struct bytes key, struct bytes range_end);

#endif
