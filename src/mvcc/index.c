#include "mvcc/index.h"

#include "base/memory.h"
#include "mvcc/key_record.h"

#include <assert.h>
#include <stdlib.h>

/* The tree.
 *
 * Leaves hold pointers to records in key order and are linked. An inner node has for each child the number of
 * live keys below it and its low: a lower bound of its keys that is above all keys of the child before
 * (shortened to what tells the two apart, owned by the node; NULL for the first child, which takes everything
 * below the second).
 *
 * Following a pointer to a key costs a cache miss, and a search looks at many keys. So each node also has the
 * heads of its keys (an inner node of its lows): the four bytes behind the prefix that all of them have in
 * common, as a number. Where heads differ they order the keys; only among equal ones are keys compared.
 */
enum {
    NODE_KEYS = 64,
    LEAF_SLOTS = NODE_KEYS,
    INNER_CHILDREN = NODE_KEYS,
    LEAF_SMALL = LEAF_SLOTS / 4,
    INNER_SMALL = INNER_CHILDREN / 4
};

/* In order; those behind the last key are UINT32_MAX. */
struct heads {
    uint32_t at[NODE_KEYS];
};

struct inner;

struct node {
    struct inner *parent;
    uint16_t count;
    bool is_leaf;
    uint8_t slot;    /* in the parent */
    uint32_t prefix; /* bytes that all keys (lows) have in common, or fewer */
};

struct mvcc_index_leaf {
    struct node node;
    struct mvcc_index_leaf *previous;
    struct mvcc_index_leaf *next;
    uint64_t alive; /* bit i: slot i's newest revision is not a tombstone */
    struct heads heads;
    struct key_record *slots[LEAF_SLOTS];
};

struct low {
    uint32_t size;
    uint8_t data[];
};

struct inner {
    struct node node;
    struct heads heads; /* of lows; the first is 0 */
    struct node *children[INNER_CHILDREN];
    uint64_t live[INNER_CHILDREN];
    struct low *lows[INNER_CHILDREN];
};

struct mvcc_index {
    struct node *root;
    struct mvcc_index_leaf *first;
    int64_t newest; /* the highest main revision ever put */
    uint64_t keys;
    uint64_t live;
    uint64_t revisions;
};

_Static_assert(LEAF_SLOTS <= 64, "one bit of `alive` per slot");

static struct mvcc_index_leaf *leaf_of(struct node *node)
{
    assert(node->is_leaf);
    return (struct mvcc_index_leaf *)node;
}

static struct inner *inner_of(struct node *node)
{
    assert(!node->is_leaf);
    return (struct inner *)node;
}

static struct mvcc_index_leaf *leaf_new(void)
{
    struct mvcc_index_leaf *leaf = mem_alloc(sizeof(*leaf));
    leaf->node = (struct node){.is_leaf = true};
    leaf->previous = leaf->next = NULL;
    leaf->alive = 0;
    return leaf;
}

static struct inner *inner_new(void)
{
    struct inner *inner = mem_alloc(sizeof(*inner));
    inner->node = (struct node){.is_leaf = false};
    return inner;
}

static struct bytes low_bytes(const struct low *low)
{
    return bytes_of(low->data, low->size);
}

/* The shortest bytes above `left` and at most `right`. */
static struct low *low_between(struct bytes left, struct bytes right)
{
    size_t size = 0;
    while (size < left.size && left.data[size] == right.data[size]) size++;
    size++;
    assert(size <= right.size);
    struct low *low = mem_alloc(sizeof(*low) + size);
    low->size = (uint32_t)size;
    memcpy(low->data, right.data, size);
    return low;
}

static uint64_t node_live(const struct node *node)
{
    if (node->is_leaf) return (uint64_t)__builtin_popcountll(((const struct mvcc_index_leaf *)node)->alive);
    const struct inner *inner = (const struct inner *)node;
    uint64_t live = 0;
    for (unsigned i = 0; i < node->count; i++) live += inner->live[i];
    return live;
}

static unsigned child_slot(const struct inner *inner, const struct node *child)
{
    assert(child->slot < inner->node.count && inner->children[child->slot] == child);
    return child->slot;
}

/* After children moved. */
static void number_children(struct inner *inner, unsigned from)
{
    for (unsigned i = from; i < inner->node.count; i++) inner->children[i]->slot = (uint8_t)i;
}

static void add_live(struct mvcc_index *index, struct node *node, int change)
{
    index->live += (uint64_t)(int64_t)change;
    for (; node->parent != NULL; node = &node->parent->node)
        node->parent->live[child_slot(node->parent, node)] += (uint64_t)(int64_t)change;
}

static size_t common_prefix(struct bytes a, struct bytes b)
{
    size_t shorter = a.size < b.size ? a.size : b.size, size = 0;
    while (size < shorter && a.data[size] == b.data[size]) size++;
    return size;
}

/* Never decreases from key to key in order. */
static uint32_t head_of(struct bytes key, size_t prefix)
{
    uint32_t head = 0;
    for (size_t i = prefix; i < prefix + 4; i++) head = head << 8 | (i < key.size ? key.data[i] : 0);
    return head;
}

/* <0 or >0 when `key` is before or after all keys that begin with the first `prefix` bytes of `model`; else
 * 0. */
static int compare_prefix(struct bytes key, struct bytes model, size_t prefix)
{
    struct bytes start = bytes_of(key.data, key.size < prefix ? key.size : prefix);
    return bytes_compare(start, bytes_of(model.data, prefix));
}

/* The slots whose heads equal `head` are [*low, *high); both are where one would be when there are none.
 * Looks at all of them: that is faster than a search, whose steps wait for each other. */
static void heads_find(const struct heads *heads, uint32_t head, unsigned count, unsigned *low,
                       unsigned *high)
{
    uint32_t less = 0, equal = 0;
    for (unsigned i = 0; i < NODE_KEYS; i++) {
        less += heads->at[i] < head;
        equal += heads->at[i] == head;
    }
    *low = less;
    *high = less + equal < count ? less + equal : count;
}

static void heads_fill(struct heads *heads, unsigned count)
{
    for (unsigned i = count; i < NODE_KEYS; i++) heads->at[i] = UINT32_MAX;
}

static void leaf_set_heads(struct mvcc_index_leaf *leaf)
{
    unsigned count = leaf->node.count;
    heads_fill(&leaf->heads, count);
    if (count == 0) return;
    leaf->node.prefix =
        (uint32_t)common_prefix(key_record_key(leaf->slots[0]), key_record_key(leaf->slots[count - 1]));
    for (unsigned i = 0; i < count; i++)
        leaf->heads.at[i] = head_of(key_record_key(leaf->slots[i]), leaf->node.prefix);
}

static void inner_set_heads(struct inner *inner)
{
    unsigned count = inner->node.count;
    heads_fill(&inner->heads, count);
    inner->heads.at[0] = 0;
    if (count < 2) return;
    inner->node.prefix =
        (uint32_t)common_prefix(low_bytes(inner->lows[1]), low_bytes(inner->lows[count - 1]));
    for (unsigned i = 1; i < count; i++)
        inner->heads.at[i] = head_of(low_bytes(inner->lows[i]), inner->node.prefix);
}

/* The child whose keys `key` belongs to. */
static unsigned inner_find(const struct inner *inner, struct bytes key)
{
    unsigned low, high, count = inner->node.count;
    if (count < 2) return 0;
    int order = compare_prefix(key, low_bytes(inner->lows[1]), inner->node.prefix);
    if (order != 0) return order < 0 ? 0 : count - 1;
    heads_find(&inner->heads, head_of(key, inner->node.prefix), count, &low, &high);
    if (low == 0) low = 1;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (bytes_compare(low_bytes(inner->lows[middle]), key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low - 1;
}

static struct mvcc_index_leaf *find_leaf(const struct mvcc_index *index, struct bytes key)
{
    struct node *node = index->root;
    while (!node->is_leaf) node = inner_of(node)->children[inner_find(inner_of(node), key)];
    return leaf_of(node);
}

/* The first slot whose key is >= key; *found when it is equal. Whether the key shares the prefix at all is
 * looked at last: when it is found, it does. */
static unsigned leaf_find(const struct mvcc_index_leaf *leaf, struct bytes key, bool *found)
{
    unsigned low, high;
    *found = false;
    if (leaf->node.count == 0) return 0;
    heads_find(&leaf->heads, head_of(key, leaf->node.prefix), leaf->node.count, &low, &high);
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        int order = bytes_compare(key_record_key(leaf->slots[middle]), key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    int order = compare_prefix(key, key_record_key(leaf->slots[0]), leaf->node.prefix);
    if (order != 0) return order < 0 ? 0 : leaf->node.count;
    return low;
}

static struct key_record *find_record(const struct mvcc_index *index, struct bytes key)
{
    const struct mvcc_index_leaf *leaf = find_leaf(index, key);
    bool found;
    unsigned slot = leaf_find(leaf, key, &found);
    return found ? leaf->slots[slot] : NULL;
}

/* Bits below `slot`. */
static uint64_t bits_below(unsigned slot)
{
    return slot >= 64 ? UINT64_MAX : (UINT64_C(1) << slot) - 1;
}

static void leaf_place(struct mvcc_index_leaf *leaf, unsigned slot, struct key_record *record)
{
    assert(leaf->node.count < LEAF_SLOTS && slot <= leaf->node.count);
    size_t behind = leaf->node.count - slot;
    memmove(leaf->slots + slot + 1, leaf->slots + slot, behind * sizeof(leaf->slots[0]));
    memmove(leaf->heads.at + slot + 1, leaf->heads.at + slot, behind * sizeof(leaf->heads.at[0]));
    leaf->slots[slot] = record;
    leaf->node.count++;
    struct bytes key = key_record_key(record),
                 neighbour = key_record_key(leaf->slots[slot == 0 ? leaf->node.count - 1 : 0]);
    if (leaf->node.count == 1 || compare_prefix(key, neighbour, leaf->node.prefix) != 0)
        leaf_set_heads(leaf);
    else
        leaf->heads.at[slot] = head_of(key, leaf->node.prefix);
    uint64_t below = leaf->alive & bits_below(slot);
    leaf->alive = below | (leaf->alive & ~bits_below(slot)) << 1 | (uint64_t)key_record_alive(record) << slot;
}

static void link_child(struct inner *inner, unsigned i, struct node *child, struct low *low)
{
    inner->children[i] = child;
    inner->lows[i] = low;
    inner->live[i] = node_live(child);
    child->parent = inner;
    child->slot = (uint8_t)i;
}

/* Puts `right`, which was split off `left`, behind it. `append`: it is the last of its level. Takes `low`. */
static void insert_child(struct mvcc_index *index, struct node *left, struct low *low, struct node *right,
                         bool append)
{
    struct inner *parent = left->parent;
    if (parent == NULL) {
        parent = inner_new();
        parent->node.count = 2;
        link_child(parent, 0, left, NULL);
        link_child(parent, 1, right, low);
        inner_set_heads(parent);
        index->root = &parent->node;
        return;
    }
    unsigned at = child_slot(parent, left), count = parent->node.count;
    parent->live[at] = node_live(left);
    struct inner *second = NULL;
    struct low *second_low = NULL;
    if (count == INNER_CHILDREN) {
        unsigned keep = append ? INNER_CHILDREN - 1 : INNER_CHILDREN / 2;
        second = inner_new();
        second_low = parent->lows[keep];
        for (unsigned i = keep; i < count; i++)
            link_child(second, i - keep, parent->children[i], parent->lows[i]);
        second->lows[0] = NULL;
        second->node.count = (uint16_t)(count - keep);
        parent->node.count = (uint16_t)keep;
    }
    struct inner *into = parent;
    unsigned slot = at + 1;
    if (second != NULL && at >= parent->node.count) {
        into = second;
        slot = at + 1 - parent->node.count;
    }
    size_t behind = into->node.count - slot;
    memmove(into->children + slot + 1, into->children + slot, behind * sizeof(into->children[0]));
    memmove(into->lows + slot + 1, into->lows + slot, behind * sizeof(into->lows[0]));
    memmove(into->live + slot + 1, into->live + slot, behind * sizeof(into->live[0]));
    into->node.count++;
    link_child(into, slot, right, low);
    number_children(into, slot + 1);
    inner_set_heads(parent);
    if (second == NULL) return;
    inner_set_heads(second);
    insert_child(index, &parent->node, second_low, &second->node, append);
}

/* Puts a record at `slot` of `leaf`, splitting it when it is full. A leaf that grows at the end of the index
 * is left full: keys that arrive in order pack tightly. */
static void insert_record(struct mvcc_index *index, struct mvcc_index_leaf *leaf, unsigned slot,
                          struct key_record *record)
{
    index->keys++;
    index->revisions++;
    if (leaf->node.count < LEAF_SLOTS) {
        leaf_place(leaf, slot, record);
        if (key_record_alive(record)) add_live(index, &leaf->node, 1);
        return;
    }
    if (key_record_alive(record)) add_live(index, &leaf->node, 1);
    bool append = leaf->next == NULL && slot == LEAF_SLOTS;
    unsigned keep = append ? LEAF_SLOTS : LEAF_SLOTS / 2;
    struct mvcc_index_leaf *right = leaf_new();
    memcpy(right->slots, leaf->slots + keep, (LEAF_SLOTS - keep) * sizeof(leaf->slots[0]));
    right->node.count = (uint16_t)(LEAF_SLOTS - keep);
    right->alive = append ? 0 : leaf->alive >> keep;
    leaf->node.count = (uint16_t)keep;
    leaf->alive &= bits_below(keep);
    right->previous = leaf;
    right->next = leaf->next;
    if (right->next != NULL) right->next->previous = right;
    leaf->next = right;
    leaf_set_heads(leaf);
    leaf_set_heads(right);
    if (append || slot > keep)
        leaf_place(right, slot - keep, record);
    else
        leaf_place(leaf, slot, record);
    struct low *low =
        low_between(key_record_key(leaf->slots[leaf->node.count - 1]), key_record_key(right->slots[0]));
    insert_child(index, &leaf->node, low, &right->node, append);
}

/* Takes child `slot` out of `inner` without freeing it. */
static void remove_child(struct inner *inner, unsigned slot)
{
    free(inner->lows[slot]);
    size_t behind = inner->node.count - slot - 1u;
    memmove(inner->children + slot, inner->children + slot + 1, behind * sizeof(inner->children[0]));
    memmove(inner->lows + slot, inner->lows + slot + 1, behind * sizeof(inner->lows[0]));
    memmove(inner->live + slot, inner->live + slot + 1, behind * sizeof(inner->live[0]));
    inner->node.count--;
    number_children(inner, slot);
    if (slot == 0 && inner->node.count > 0) {
        free(inner->lows[0]);
        inner->lows[0] = NULL;
    }
    inner_set_heads(inner);
}

static void leaf_unlink(struct mvcc_index *index, struct mvcc_index_leaf *leaf)
{
    if (leaf->next != NULL) leaf->next->previous = leaf->previous;
    if (leaf->previous != NULL)
        leaf->previous->next = leaf->next;
    else
        index->first = leaf->next;
}

/* Appends the content of `right` (child `slot` + 1) to its sibling `left`, leaving `right` empty. */
static void move_left(struct inner *parent, unsigned slot)
{
    struct node *left = parent->children[slot], *right = parent->children[slot + 1];
    if (left->is_leaf) {
        struct mvcc_index_leaf *to = leaf_of(left), *from = leaf_of(right);
        memcpy(to->slots + left->count, from->slots, right->count * sizeof(to->slots[0]));
        to->alive |= from->alive << left->count;
    } else {
        struct inner *to = inner_of(left), *from = inner_of(right);
        for (unsigned i = 0; i < right->count; i++)
            link_child(to, left->count + i, from->children[i], from->lows[i]);
        to->lows[left->count] = parent->lows[slot + 1];
        parent->lows[slot + 1] = NULL;
    }
    left->count = (uint16_t)(left->count + right->count);
    right->count = 0;
    if (left->is_leaf)
        leaf_set_heads(leaf_of(left));
    else
        inner_set_heads(inner_of(left));
    parent->live[slot] += parent->live[slot + 1];
}

static void drop_node(struct mvcc_index *index, struct node *node);

/* After `node` lost something: joins it with a neighbour when both are small, drops it when empty. */
static void tidy(struct mvcc_index *index, struct node *node)
{
    struct inner *parent = node->parent;
    if (parent == NULL) {
        while (!index->root->is_leaf && index->root->count == 1) {
            struct node *only = inner_of(index->root)->children[0];
            free(index->root);
            index->root = only;
            only->parent = NULL;
        }
        return;
    }
    if (node->count == 0) {
        drop_node(index, node);
        return;
    }
    unsigned small = node->is_leaf ? LEAF_SMALL : INNER_SMALL;
    unsigned limit = node->is_leaf ? LEAF_SLOTS * 3 / 4 : INNER_CHILDREN * 3 / 4;
    if (node->count > small) return;
    unsigned slot = child_slot(parent, node);
    if (slot + 1u < parent->node.count && node->count + parent->children[slot + 1]->count <= limit) {
        struct node *right = parent->children[slot + 1];
        move_left(parent, slot);
        drop_node(index, right);
    } else if (slot > 0 && node->count + parent->children[slot - 1]->count <= limit) {
        move_left(parent, slot - 1);
        drop_node(index, node);
    }
}

/* Frees an empty node that has a parent. */
static void drop_node(struct mvcc_index *index, struct node *node)
{
    struct inner *parent = node->parent;
    assert(node->count == 0 && parent != NULL);
    remove_child(parent, child_slot(parent, node));
    if (node->is_leaf) leaf_unlink(index, leaf_of(node));
    free(node);
    tidy(index, &parent->node);
}

static void remove_record(struct mvcc_index *index, struct mvcc_index_leaf *leaf, unsigned slot)
{
    index->keys--;
    bool alive = (leaf->alive >> slot & 1) != 0;
    key_record_free(leaf->slots[slot]);
    size_t behind = leaf->node.count - slot - 1u;
    memmove(leaf->slots + slot, leaf->slots + slot + 1, behind * sizeof(leaf->slots[0]));
    memmove(leaf->heads.at + slot, leaf->heads.at + slot + 1, behind * sizeof(leaf->heads.at[0]));
    leaf->node.count--;
    leaf->heads.at[leaf->node.count] = UINT32_MAX;
    leaf->alive = (leaf->alive & bits_below(slot)) | (leaf->alive >> 1 & ~bits_below(slot));
    if (alive) add_live(index, &leaf->node, -1);
    tidy(index, &leaf->node);
}

/* ---- the interface ---- */

struct mvcc_index *mvcc_index_new(void)
{
    struct mvcc_index *index = mem_zalloc(1, sizeof(*index));
    index->first = leaf_new();
    index->root = &index->first->node;
    return index;
}

static void node_free(struct node *node)
{
    for (unsigned i = 0; i < node->count; i++) {
        if (node->is_leaf) {
            key_record_free(leaf_of(node)->slots[i]);
        } else {
            free(inner_of(node)->lows[i]);
            node_free(inner_of(node)->children[i]);
        }
    }
    free(node);
}

void mvcc_index_free(struct mvcc_index *index)
{
    if (index == NULL) return;
    node_free(index->root);
    free(index);
}

/* One more revision of the key in `slot`. */
static void append(struct mvcc_index *index, struct mvcc_index_leaf *leaf, unsigned slot,
                   struct mvcc_revision revision, bool tombstone)
{
    bool was_alive = key_record_alive(leaf->slots[slot]);
    key_record_append(&leaf->slots[slot], revision, tombstone);
    index->revisions++;
    if (was_alive == !tombstone) return;
    leaf->alive ^= UINT64_C(1) << slot;
    add_live(index, &leaf->node, tombstone ? -1 : 1);
}

static void note_newest(struct mvcc_index *index, struct mvcc_revision revision)
{
    if (revision.main > index->newest) index->newest = revision.main;
}

void mvcc_index_put(struct mvcc_index *index, struct bytes key, struct mvcc_revision revision,
                    struct mvcc_entry *entry)
{
    note_newest(index, revision);
    struct mvcc_index_leaf *leaf = find_leaf(index, key);
    bool found;
    unsigned slot = leaf_find(leaf, key, &found);
    struct key_record *record;
    if (found) {
        append(index, leaf, slot, revision, false);
        record = leaf->slots[slot];
    } else {
        struct key_moment moment = {revision.main, key_moment_pack(revision, false), 0};
        record = key_record_new(key, moment, revision.main, 1);
        insert_record(index, leaf, slot, record);
    }
    bool alive = key_record_find(record, revision.main, entry);
    assert(alive);
}

bool mvcc_index_tombstone(struct mvcc_index *index, struct bytes key, struct mvcc_revision revision)
{
    struct mvcc_index_leaf *leaf = find_leaf(index, key);
    bool found;
    unsigned slot = leaf_find(leaf, key, &found);
    if (!found || !key_record_alive(leaf->slots[slot])) return false;
    note_newest(index, revision);
    append(index, leaf, slot, revision, true);
    return true;
}

void mvcc_index_restore(struct mvcc_index *index, struct bytes key, struct mvcc_revision revision,
                        bool tombstone, int64_t created, int64_t version)
{
    note_newest(index, revision);
    struct mvcc_index_leaf *leaf = find_leaf(index, key);
    bool found;
    unsigned slot = leaf_find(leaf, key, &found);
    if (found) {
        append(index, leaf, slot, revision, tombstone);
    } else {
        struct key_moment moment = {revision.main, key_moment_pack(revision, tombstone), 0};
        insert_record(index, leaf, slot, key_record_new(key, moment, created, version));
    }
}

bool mvcc_index_compact(struct mvcc_index *index, struct bytes key, int64_t at, struct mvcc_revision revision)
{
    assert(revision.main <= at);
    struct mvcc_index_leaf *leaf = find_leaf(index, key);
    bool found, kept = false;
    unsigned slot = leaf_find(leaf, key, &found);
    if (!found) return false;
    struct key_past past;
    key_record_past(leaf->slots[slot], &past);
    uint32_t drop, end = key_past_kept(&past, at, &drop);
    for (uint32_t i = drop; i < end; i++) kept = kept || key_moment_is(&past.moments[i], revision);
    if (drop == 0) return kept;
    index->revisions -= drop;
    if (drop == past.count)
        remove_record(index, leaf, slot);
    else
        key_record_trim(&leaf->slots[slot], drop);
    return kept;
}

bool mvcc_index_has(const struct mvcc_index *index, struct bytes key, struct mvcc_revision revision)
{
    const struct key_record *record = find_record(index, key);
    if (record == NULL) return false;
    struct key_past past;
    key_record_past(record, &past);
    for (uint32_t i = key_past_until(&past, revision.main);
         i > 0 && past.moments[i - 1].main == revision.main; i--)
        if (key_moment_is(&past.moments[i - 1], revision)) return true;
    return false;
}

bool mvcc_index_keeps(const struct mvcc_index *index, struct bytes key, struct mvcc_revision revision,
                      int64_t at, bool keep_tombstone)
{
    const struct key_record *record = find_record(index, key);
    if (record == NULL) return false;
    struct key_past past;
    key_record_past(record, &past);
    uint32_t i, end = key_past_kept(&past, at, &i);
    for (; i < end; i++)
        if (key_moment_is(&past.moments[i], revision))
            return keep_tombstone || !key_moment_tombstone(&past.moments[i]);
    return false;
}

bool mvcc_index_find(const struct mvcc_index *index, struct bytes key, int64_t at, struct mvcc_entry *entry)
{
    const struct key_record *record = find_record(index, key);
    return record != NULL && key_record_find(record, at, entry);
}

/* Live keys below `key` in the newest state. */
static uint64_t rank(const struct mvcc_index *index, struct bytes key)
{
    uint64_t live = 0;
    const struct node *node = index->root;
    while (!node->is_leaf) {
        const struct inner *inner = (const struct inner *)node;
        unsigned child = inner_find(inner, key);
        for (unsigned i = 0; i < child; i++) live += inner->live[i];
        node = inner->children[child];
    }
    const struct mvcc_index_leaf *leaf = (const struct mvcc_index_leaf *)node;
    bool found;
    unsigned slot = leaf_find(leaf, key, &found);
    return live + (uint64_t)__builtin_popcountll(leaf->alive & bits_below(slot));
}

uint64_t mvcc_index_count(const struct mvcc_index *index, const struct mvcc_span *span, int64_t at)
{
    if (!span->open && bytes_compare(span->from, span->to) >= 0) return 0;
    if (at >= index->newest)
        return (span->open ? index->live : rank(index, span->to)) - rank(index, span->from);
    uint64_t count = 0;
    struct mvcc_index_cursor cursor = mvcc_index_seek(index, span->from, false);
    struct mvcc_entry entry;
    int alive;
    while ((alive = mvcc_index_next(&cursor, at, &entry)) >= 0) {
        if (!span->open && bytes_compare(entry.key, span->to) >= 0) break;
        count += (uint64_t)alive;
    }
    return count;
}

struct mvcc_index_cursor mvcc_index_seek(const struct mvcc_index *index, struct bytes key, bool after)
{
    struct mvcc_index_leaf *leaf = find_leaf(index, key);
    bool found;
    unsigned slot = leaf_find(leaf, key, &found);
    return (struct mvcc_index_cursor){leaf, found && after ? slot + 1 : slot};
}

static const struct key_record *cursor_next(struct mvcc_index_cursor *cursor)
{
    while (cursor->leaf != NULL && cursor->slot >= cursor->leaf->node.count) {
        if (cursor->leaf->next == NULL) return NULL;
        cursor->leaf = cursor->leaf->next;
        cursor->slot = 0;
    }
    return cursor->leaf->slots[cursor->slot++];
}

int mvcc_index_next(struct mvcc_index_cursor *cursor, int64_t at, struct mvcc_entry *entry)
{
    const struct key_record *record = cursor_next(cursor);
    if (record == NULL) return -1;
    return key_record_find(record, at, entry) ? 1 : 0;
}

int mvcc_index_next_kept(struct mvcc_index_cursor *cursor, int64_t at, bool keep_tombstone)
{
    const struct key_record *record = cursor_next(cursor);
    if (record == NULL) return -1;
    struct key_past past;
    key_record_past(record, &past);
    uint32_t first, end = key_past_kept(&past, at, &first);
    if (first == end) return 0;
    return keep_tombstone || !key_moment_tombstone(&past.moments[end - 1]) ? 1 : 0;
}

void mvcc_index_cursor_tombstone(struct mvcc_index *index, struct mvcc_index_cursor *cursor,
                                 struct mvcc_revision revision)
{
    assert(cursor->slot > 0 && (cursor->leaf->alive >> (cursor->slot - 1) & 1) != 0);
    note_newest(index, revision);
    append(index, cursor->leaf, cursor->slot - 1, revision, true);
}

uint64_t mvcc_index_keys(const struct mvcc_index *index)
{
    return index->keys;
}

uint64_t mvcc_index_live_keys(const struct mvcc_index *index)
{
    return index->live;
}

uint64_t mvcc_index_revisions(const struct mvcc_index *index)
{
    return index->revisions;
}

/* ---- verification ---- */

struct totals {
    uint64_t keys;
    uint64_t live;
    uint64_t revisions;
    struct mvcc_index_leaf *last;
};

static void verify_head(struct bytes key, struct bytes first, uint32_t prefix, uint32_t head)
{
    assert(key.size >= prefix && compare_prefix(key, first, prefix) == 0);
    assert(head == head_of(key, prefix));
}

/* All keys below `node` are in [low, high). */
static void verify_node(const struct mvcc_index *index, struct node *node, const struct low *low,
                        const struct low *high, struct totals *totals)
{
    assert(node->count > 0 || node == index->root);
    if (!node->is_leaf) {
        struct inner *inner = inner_of(node);
        assert(node != index->root || node->count >= 2);
        for (unsigned i = 0; i < node->count; i++) {
            assert((i == 0) == (inner->lows[i] == NULL) && inner->children[i]->parent == inner);
            assert(inner->children[i]->slot == i);
            assert(inner->live[i] == node_live(inner->children[i]));
            if (i > 0)
                verify_head(low_bytes(inner->lows[i]), low_bytes(inner->lows[1]), node->prefix,
                            inner->heads.at[i]);
            const struct low *next = i + 1u < node->count ? inner->lows[i + 1] : high;
            verify_node(index, inner->children[i], i == 0 ? low : inner->lows[i], next, totals);
        }
        return;
    }
    struct mvcc_index_leaf *leaf = leaf_of(node);
    assert(leaf->previous == totals->last);
    assert(totals->last != NULL ? totals->last->next == leaf : index->first == leaf);
    totals->last = leaf;
    assert((leaf->alive & ~bits_below(node->count)) == 0);
    for (unsigned i = 0; i < node->count; i++) {
        struct bytes key = key_record_key(leaf->slots[i]);
        assert(i == 0 || bytes_compare(key_record_key(leaf->slots[i - 1]), key) < 0);
        assert(low == NULL || bytes_compare(low_bytes(low), key) <= 0);
        assert(high == NULL || bytes_compare(key, low_bytes(high)) < 0);
        assert((leaf->alive >> i & 1) == (key_record_alive(leaf->slots[i]) ? 1u : 0u));
        verify_head(key, key_record_key(leaf->slots[0]), node->prefix, leaf->heads.at[i]);
        totals->revisions += key_record_verify(leaf->slots[i]);
    }
    totals->keys += node->count;
    totals->live += node_live(node);
}

void mvcc_index_verify(const struct mvcc_index *index)
{
    struct totals totals = {0, 0, 0, NULL};
    assert(index->root->parent == NULL);
    verify_node(index, index->root, NULL, NULL, &totals);
    assert(totals.last->next == NULL);
    assert(totals.keys == index->keys && totals.live == index->live && totals.revisions == index->revisions);
}
