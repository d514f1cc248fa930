/* interval_tree: what etcd says of a range that is empty because its end is not above its key.
 *
 * Such a request touches nothing, and yet whether it is permitted must be told alike by all members: in a
 * transaction it decides about everything else. etcd looks for permissions in a red-black tree of their
 * ranges and leaves out subtrees that cannot overlap the request; for an empty one its rule leaves out too
 * much: a range left of the request's key that does not begin before its end hides everything below it. So
 * the answer depends on the shape of the tree, which follows from the order of the permissions; it is built
 * here the same way (Cormen, Leiserson, Rivest, Stein: insertion into a red-black tree; ordered by begin,
 * then by end).
 *
 * Pure; one thread.
 */
#ifndef AUTH_INTERVAL_TREE_H
#define AUTH_INTERVAL_TREE_H

#include "auth/ranges.h"

/* `ranges` in the order in which etcd inserts them, with all that are empty; an empty begin or end is above
 * all keys. `end` is not above `key`. */
bool auth_interval_tree_finds(const struct auth_range *ranges, size_t count, struct bytes key,
                              struct bytes end);

#endif
