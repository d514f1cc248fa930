#include "mvcc/watch_index.h"

#include <assert.h>
#include <stdlib.h>

void watch_index_init(struct watch_index *index, uint64_t seed)
{
    *index = (struct watch_index){0};
    rng_init(&index->rng, seed);
}

void watch_index_deinit(struct watch_index *index)
{
    assert(index->keys == NULL && index->ranges == NULL);
    *index = (struct watch_index){0};
}

static struct watch_group *group_new(const struct mvcc_span *span, bool single)
{
    size_t to_size = single || span->open ? 0 : span->to.size;
    struct watch_group *group = mem_alloc(sizeof(*group) + span->from.size + to_size);
    *group = (struct watch_group){.single = single};
    memcpy(group->bytes, span->from.data, span->from.size);
    if (to_size > 0) memcpy(group->bytes + span->from.size, span->to.data, to_size);
    group->span.from = bytes_of(group->bytes, span->from.size);
    group->span.to = single ? group->span.from : bytes_of(group->bytes + span->from.size, to_size);
    group->span.open = span->open;
    TAILQ_INIT(&group->synced);
    TAILQ_INIT(&group->catching);
    return group;
}

/* ---- single keys ---- */

struct watch_group *watch_index_key(struct watch_index *index, struct bytes key)
{
    assert(key.size > 0);
    struct watch_group *group;
    HASH_FIND(hh, index->keys, key.data, key.size, group);
    if (group == NULL) {
        struct mvcc_span span = {.from = key, .to = key};
        group = group_new(&span, true);
        HASH_ADD_KEYPTR(hh, index->keys, group->span.from.data, group->span.from.size, group);
    }
    group->references++;
    return group;
}

/* ---- ranges ---- */

/* Ends in ascending order; no end comes after all others. */
static int compare_ends(const struct mvcc_span *a, const struct mvcc_span *b)
{
    if (a->open || b->open) return (int)a->open - (int)b->open;
    return bytes_compare(a->to, b->to);
}

static int compare_spans(const struct mvcc_span *a, const struct mvcc_span *b)
{
    int order = bytes_compare(a->from, b->from);
    return order != 0 ? order : compare_ends(a, b);
}

static bool ends_after(const struct watch_group *group, struct bytes key)
{
    return group->span.open || bytes_compare(key, group->span.to) < 0;
}

static void update(struct watch_group *group)
{
    const struct watch_group *last = group;
    const struct watch_group *below[] = {group->left, group->right};
    for (size_t i = 0; i < 2; i++)
        if (below[i] != NULL && compare_ends(&below[i]->last_end->span, &last->span) > 0)
            last = below[i]->last_end;
    group->last_end = last;
}

/* Both halves of a treap, every range of `left` ordered before every one of `right`. Expected depth: the
 * logarithm of the size, here and below. */
static struct watch_group *merge(struct watch_group *left, struct watch_group *right)
{
    if (left == NULL) return right;
    if (right == NULL) return left;
    if (left->priority >= right->priority) {
        left->right = merge(left->right, right);
        update(left);
        return left;
    }
    right->left = merge(left, right->left);
    update(right);
    return right;
}

/* Cuts into ranges before `span` and the others. */
static void split(struct watch_group *root, const struct mvcc_span *span, struct watch_group **before,
                  struct watch_group **others)
{
    if (root == NULL) {
        *before = *others = NULL;
    } else if (compare_spans(&root->span, span) < 0) {
        split(root->right, span, &root->right, others);
        *before = root;
        update(root);
    } else {
        split(root->left, span, before, &root->left);
        *others = root;
        update(root);
    }
}

struct watch_group *watch_index_range(struct watch_index *index, const struct mvcc_span *span)
{
    assert(span->open || bytes_compare(span->from, span->to) < 0);
    struct watch_group *group = index->ranges;
    while (group != NULL) {
        int order = compare_spans(span, &group->span);
        if (order == 0) {
            group->references++;
            return group;
        }
        group = order < 0 ? group->left : group->right;
    }
    group = group_new(span, false);
    group->references = 1;
    group->priority = rng_next(&index->rng);
    update(group);
    struct watch_group *before, *others;
    split(index->ranges, span, &before, &others);
    index->ranges = merge(merge(before, group), others);
    index->range_count++;
    return group;
}

static struct watch_group *remove_range(struct watch_group *root, const struct watch_group *group)
{
    assert(root != NULL);
    if (root == group) return merge(root->left, root->right);
    if (compare_spans(&group->span, &root->span) < 0)
        root->left = remove_range(root->left, group);
    else
        root->right = remove_range(root->right, group);
    update(root);
    return root;
}

void watch_index_release(struct watch_index *index, struct watch_group *group)
{
    assert(group->references > 0);
    if (--group->references > 0) return;
    assert(TAILQ_EMPTY(&group->synced) && TAILQ_EMPTY(&group->catching));
    if (group->single) {
        HASH_DEL(index->keys, group);
    } else {
        index->ranges = remove_range(index->ranges, group);
        index->range_count--;
    }
    free(group);
}

/* ---- matching ---- */

static void match_ranges(struct watch_group *root, struct bytes key, watch_index_visit *visit, void *context)
{
    while (root != NULL && ends_after(root->last_end, key)) {
        match_ranges(root->left, key, visit, context);
        if (bytes_compare(key, root->span.from) < 0)
            return; /* nor does anything to the right start in time */
        if (ends_after(root, key)) visit(context, root);
        root = root->right;
    }
}

void watch_index_match(const struct watch_index *index, struct bytes key, watch_index_visit *visit,
                       void *context)
{
    struct watch_group *single = NULL;
    if (key.size > 0) HASH_FIND(hh, index->keys, key.data, key.size, single);
    if (single != NULL) visit(context, single);
    match_ranges(index->ranges, key, visit, context);
}
