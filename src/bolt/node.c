#include "bolt/node.h"

#include "bolt/db.h"

#include <assert.h>
#include <inttypes.h>

/* A node below 1/SMALL_FRACTION of a page is merged with a neighbour when both fit into one. */
enum { SMALL_FRACTION = 4 };

static uint64_t item_bytes(const struct node_item *item)
{
    return (uint64_t)PAGE_ELEMENT_SIZE + item->key_size + item->value_size;
}

/* ---- Arrays ---- */

static struct bolt_node *node_new(struct bolt_tree *tree, bool leaf, uint32_t capacity)
{
    struct bolt_node *node = arena_zalloc(tree->tx->arena, sizeof(*node));
    node->leaf = leaf;
    node->capacity = capacity;
    node->bytes = PAGE_HEADER_SIZE;
    node->items = arena_alloc(tree->tx->arena, capacity * sizeof(*node->items));
    return node;
}

static void reserve(struct bolt_tree *tree, struct bolt_node *node, uint32_t more)
{
    if (node->capacity - node->count >= more) return;
    uint32_t capacity = node->capacity + node->capacity / 2 + more;
    struct node_item *items = arena_alloc(tree->tx->arena, capacity * sizeof(*items));
    memcpy(items, node->items, node->count * sizeof(*items));
    node->items = items;
    node->capacity = capacity;
}

static void insert_item(struct bolt_tree *tree, struct bolt_node *node, uint32_t index, struct node_item item)
{
    assert(index <= node->count);
    reserve(tree, node, 1);
    memmove(&node->items[index + 1], &node->items[index], (node->count - index) * sizeof(item));
    node->items[index] = item;
    node->count++;
    node->bytes += item_bytes(&item);
}

static void remove_item(struct bolt_node *node, uint32_t index)
{
    assert(index < node->count);
    node->bytes -= item_bytes(&node->items[index]);
    node->count--;
    memmove(&node->items[index], &node->items[index + 1], (node->count - index) * sizeof(node->items[0]));
    node->shrunk = true;
}

uint32_t node_search(const struct bolt_node *node, struct bytes key, bool *exact)
{
    uint32_t low = 0, high = node->count;
    *exact = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = bytes_compare(node_key(node, middle), key);
        if (order == 0) {
            *exact = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return node->leaf || low == 0 ? low : low - 1;
}

/* ---- Reading pages into nodes ---- */

/* Every element is checked, and so is their order: what is written again must be sound. */
static struct error *node_read(struct bolt_tree *tree, const struct page *page, struct bolt_node **result)
{
    struct bolt_node *node = node_new(tree, page->leaf, page->count + page->count / 4 + 4);
    for (uint32_t i = 0; i < page->count; i++) {
        struct element element = {0};
        if (!page_locate(page, i, &element)) return page_element_error(page, i);
        if (i > 0 && bytes_compare(node_key(node, i - 1), element.key) >= 0)
            return error_new(ERROR_CORRUPT, "page %" PRIu64 ": key %" PRIu32 " is not above the one before",
                             page->id, i);
        node->items[i] = (struct node_item){
            .key = element.key.data,
            .key_size = (uint32_t)element.key.size,
            .value = element.value.data,
            .value_size = (uint32_t)element.value.size,
            .is_bucket = element.is_bucket,
            .page = element.child,
        };
        node->bytes += item_bytes(&node->items[i]);
        node->count++;
    }
    if (node->bytes > page->size)
        return error_new(ERROR_CORRUPT, "page %" PRIu64 ": its elements overlap", page->id);
    *result = node;
    return NULL;
}

static struct error *give_up_page(struct bolt_tree *tree, const struct page *page)
{
    if (freelist_give_up(&tree->tx->db->freelist, page->id, (uint64_t)page->overflow + 1)) return NULL;
    return error_new(ERROR_CORRUPT, "page %" PRIu64 ": in use twice, or free", page->id);
}

static struct error *node_take(struct bolt_tree *tree, uint64_t id, struct bolt_node **node)
{
    struct page page;
    TRY(bolt_tx_page(tree->tx, id, &page));
    TRY(node_read(tree, &page, node));
    return give_up_page(tree, &page);
}

static struct error *take_root(struct bolt_tree *tree)
{
    if (tree->root != NULL) return NULL;
    if (tree->page != 0) return node_take(tree, tree->page, &tree->root);
    struct page page;
    TRY(page_open_inline(&page, tree->inline_page));
    return node_read(tree, &page, &tree->root);
}

static struct error *take_child(struct bolt_tree *tree, struct bolt_node *node, uint32_t index,
                                struct bolt_node **child)
{
    struct node_item *item = &node->items[index];
    if (item->child == NULL) TRY(node_take(tree, item->page, &item->child));
    *child = item->child;
    return NULL;
}

/* ---- Splitting ---- */

static bool too_big(const struct bolt_tree *tree, const struct bolt_node *node)
{
    /* A branch keeps two children at least, or the tree would grow without end over large keys. */
    return node->bytes > tree->tx->db->page_size && node->count >= (node->leaf ? 2 : 4);
}

/* Where to cut: behind the half of the bytes; or, when the last row was just added, before it, so that
 * ascending insertion leaves full pages. */
static uint32_t split_point(const struct bolt_node *node, bool appended)
{
    uint32_t least = node->leaf ? 1 : 2;
    if (appended) return node->count - least;
    uint64_t bytes = 0;
    uint32_t index = 0;
    while (index < node->count - least && bytes < node->bytes / 2) bytes += item_bytes(&node->items[index++]);
    return index < least ? least : index;
}

static void split_child(struct bolt_tree *tree, struct bolt_node *parent, uint32_t index, bool appended)
{
    struct bolt_node *left = parent->items[index].child;
    uint32_t cut = split_point(left, appended);
    uint32_t moved = left->count - cut;
    struct bolt_node *right = node_new(tree, left->leaf, moved + moved / 2 + 16);
    memcpy(right->items, &left->items[cut], moved * sizeof(right->items[0]));
    right->count = moved;
    right->shrunk = left->shrunk; /* settle looks below it, too */
    for (uint32_t i = 0; i < moved; i++) right->bytes += item_bytes(&right->items[i]);
    left->count = cut;
    left->bytes -= right->bytes - PAGE_HEADER_SIZE;
    insert_item(tree, parent, index + 1,
                (struct node_item){.key = right->items[0].key,
                                   .key_size = right->items[0].key_size,
                                   .child = right});
    /* Rows of very different sizes may leave a half that is still too big; each call has fewer rows. */
    if (too_big(tree, right)) split_child(tree, parent, index + 1, false);
    if (too_big(tree, left)) split_child(tree, parent, index, false);
}

/* ---- Changing ---- */

struct step {
    struct bolt_node *node;
    uint32_t index;
};

static void grow_root(struct bolt_tree *tree)
{
    struct bolt_node *node = tree->root, *root = node_new(tree, false, 8);
    insert_item(tree, root, 0,
                (struct node_item){.key = node->items[0].key,
                                   .key_size = node->items[0].key_size,
                                   .child = node});
    root->shrunk = node->shrunk;
    tree->root = root;
}

/* Splits what an insertion at the end of the path made too big, from the leaf upward. */
static void split_path(struct bolt_tree *tree, const struct step *path, uint32_t depth)
{
    for (uint32_t level = depth; level-- > 0;) {
        struct bolt_node *node = path[level].node;
        if (!too_big(tree, node)) return;
        /* The new row is the last one; of a branch, the child that came from splitting the one on the path.
         */
        bool appended = path[level].index + (node->leaf ? 1 : 2) >= node->count;
        if (level > 0) {
            split_child(tree, path[level - 1].node, path[level - 1].index, appended);
            continue;
        }
        grow_root(tree);
        split_child(tree, tree->root, 0, appended);
    }
    /* A root that got very many children at once may be too big itself. */
    while (too_big(tree, tree->root)) {
        grow_root(tree);
        split_child(tree, tree->root, 0, false);
    }
}

/* For the checksum of all rows. */
static uint32_t checksum_of(const struct node_item *item)
{
    return row_checksum(bytes_of(item->key, item->key_size), bytes_of(item->value, item->value_size),
                        item->is_bucket);
}

static void changed(struct bolt_tree *tree)
{
    tree->changes++;
    tree->tx->changed = true;
}

static struct error *descend(struct bolt_tree *tree, struct bytes key, bool inserting, struct step *path,
                             uint32_t *depth, bool *exact, bool *rightmost)
{
    TRY(take_root(tree));
    struct bolt_node *node = tree->root;
    *rightmost = true;
    for (*depth = 0;;) {
        if (*depth == BOLT_DEPTH_MAX)
            return error_new(ERROR_CORRUPT, "bucket %.*s: its tree is deeper than %d pages",
                             (int)tree->name.size, (const char *)tree->name.data, BOLT_DEPTH_MAX);
        uint32_t index = node_search(node, key, exact);
        path[(*depth)++] = (struct step){node, index};
        if (node->leaf) return NULL;
        if (index + 1 < node->count) *rightmost = false;
        struct node_item *item = &node->items[index];
        if (inserting && index == 0 && bytes_compare(key, node_key(node, 0)) < 0) {
            /* The smallest key so far: no branch on the way may claim to begin above it. */
            node->bytes += key.size;
            node->bytes -= item->key_size;
            item->key = key.data;
            item->key_size = (uint32_t)key.size;
        }
        TRY(take_child(tree, node, index, &node));
    }
}

/* Ascending keys: no search, as long as the last leaf has room. */
static bool append_to_last(struct bolt_tree *tree, const struct node_item *item)
{
    struct bolt_node *leaf = tree->last;
    if (leaf == NULL || leaf->count == 0 || leaf->bytes + item_bytes(item) > tree->tx->db->page_size)
        return false;
    if (bytes_compare(node_key(leaf, leaf->count - 1), bytes_of(item->key, item->key_size)) >= 0)
        return false;
    insert_item(tree, leaf, leaf->count, *item);
    tree->tx->rows += checksum_of(item);
    changed(tree);
    return true;
}

static struct error *put_item(struct bolt_tree *tree, const struct node_item *item)
{
    struct bytes key = bytes_of(item->key, item->key_size);
    struct step path[BOLT_DEPTH_MAX];
    uint32_t depth;
    bool exact, rightmost;
    TRY(descend(tree, key, true, path, &depth, &exact, &rightmost));
    struct bolt_node *leaf = path[depth - 1].node;
    uint32_t index = path[depth - 1].index;
    if (exact && leaf->items[index].is_bucket != item->is_bucket)
        return error_new(ERROR_INVALID, "%s",
                         item->is_bucket ? "a row of that name is no bucket"
                                         : "a nested bucket has that name");
    if (exact) tree->tx->rows -= checksum_of(&leaf->items[index]);
    tree->tx->rows += checksum_of(item);
    if (exact) {
        leaf->bytes += item->value_size;
        leaf->bytes -= leaf->items[index].value_size;
        leaf->items[index].value = item->value;
        leaf->items[index].value_size = item->value_size;
    } else {
        insert_item(tree, leaf, index, *item);
    }
    bool splits = too_big(tree, leaf);
    if (rightmost) tree->last = splits ? NULL : leaf;
    changed(tree);
    if (splits) split_path(tree, path, depth);
    return NULL;
}

struct error *tree_put(struct bolt_tree *tree, struct bytes key, struct bytes value, bool is_bucket)
{
    struct node_item item = {
        .key = key.data,
        .key_size = (uint32_t)key.size,
        .value = value.data,
        .value_size = (uint32_t)value.size,
        .is_bucket = is_bucket,
    };
    if (append_to_last(tree, &item)) return NULL;
    struct error *error = put_item(tree, &item);
    if (error_is(error, ERROR_CORRUPT)) tree->tx->damaged = true;
    return error;
}

struct error *tree_remove(struct bolt_tree *tree, struct bytes key)
{
    struct step path[BOLT_DEPTH_MAX];
    uint32_t depth;
    bool exact, rightmost;
    struct error *error = descend(tree, key, false, path, &depth, &exact, &rightmost);
    if (error == NULL && !exact)
        error = error_new(ERROR_CORRUPT, "bucket %.*s: a row disappeared on the way to it",
                          (int)tree->name.size, (const char *)tree->name.data);
    if (error != NULL) {
        tree->tx->damaged = true;
        return error;
    }
    const struct step *last = &path[depth - 1];
    tree->tx->rows -= checksum_of(&last->node->items[last->index]);
    remove_item(last->node, last->index);
    for (uint32_t level = 0; level + 1 < depth; level++)
        path[level].node->shrunk = true; /* settle looks below it */
    changed(tree);
    return NULL;
}

/* ---- Settling ---- */

/* Bytes that child `index` takes; a page's are told from its last element, exact where pages are packed as
 * usual. */
static struct error *child_bytes(struct bolt_tree *tree, const struct bolt_node *node, uint32_t index,
                                 bool *leaf, uint64_t *bytes)
{
    const struct node_item *item = &node->items[index];
    if (item->child != NULL) {
        *leaf = item->child->leaf;
        *bytes = item->child->bytes;
        return NULL;
    }
    struct page page;
    TRY(bolt_tx_page(tree->tx, item->page, &page));
    *leaf = page.leaf;
    *bytes = PAGE_HEADER_SIZE;
    if (page.count == 0) return NULL;
    struct element last = {0};
    if (!page_locate(&page, page.count - 1, &last)) return page_element_error(&page, page.count - 1);
    *bytes = (uint64_t)(last.key.data + last.key.size + last.value.size - page.data);
    return NULL;
}

/* Appends child `index + 1` to child `index` when both fit into a page. */
static struct error *merge_with_next(struct bolt_tree *tree, struct bolt_node *node, uint32_t index,
                                     bool *merged)
{
    *merged = false;
    if (index + 1 >= node->count) return NULL;
    bool left_leaf, right_leaf;
    uint64_t left_bytes, right_bytes;
    TRY(child_bytes(tree, node, index, &left_leaf, &left_bytes));
    TRY(child_bytes(tree, node, index + 1, &right_leaf, &right_bytes));
    if (left_leaf != right_leaf) return NULL;
    if (left_bytes + right_bytes - PAGE_HEADER_SIZE > tree->tx->db->page_size) return NULL;
    struct bolt_node *left, *right;
    TRY(take_child(tree, node, index, &left));
    TRY(take_child(tree, node, index + 1, &right));
    if (left->count > 0 && right->count > 0 &&
        bytes_compare(node_key(left, left->count - 1), node_key(right, 0)) >= 0)
        return error_new(ERROR_CORRUPT, "bucket %.*s: keys of neighbouring pages overlap",
                         (int)tree->name.size, (const char *)tree->name.data);
    reserve(tree, left, right->count);
    memcpy(&left->items[left->count], right->items, right->count * sizeof(right->items[0]));
    left->count += right->count;
    left->bytes += right->bytes - PAGE_HEADER_SIZE;
    remove_item(node, index + 1);
    *merged = true;
    return NULL;
}

/* A child may have lost its first row. bbolt, as it changes a page, looks for it in the parent under the
 * page's first key, so the two must stay the same. A longer key may take the branch a little over its page;
 * the next insertion splits it. */
static void name_children(struct bolt_node *node)
{
    for (uint32_t i = 0; i < node->count; i++) {
        struct node_item *item = &node->items[i];
        if (item->child == NULL || item->child->count == 0) continue;
        const struct node_item *first = &item->child->items[0];
        node->bytes += first->key_size;
        node->bytes -= item->key_size;
        item->key = first->key;
        item->key_size = first->key_size;
    }
}

static struct error *settle_branch(struct bolt_tree *tree, struct bolt_node *node)
{
    for (uint32_t i = 0; i < node->count; i++) {
        struct bolt_node *child = node->items[i].child;
        if (child != NULL && !child->leaf && child->shrunk) TRY(settle_branch(tree, child));
    }
    uint64_t small = tree->tx->db->page_size / SMALL_FRACTION;
    for (uint32_t i = 0; i < node->count;) {
        struct bolt_node *child = node->items[i].child;
        if (child == NULL || !child->shrunk || (child->count > 1 && child->bytes >= small)) {
            i++;
            continue;
        }
        if (child->count == 0) {
            remove_item(node, i);
            continue;
        }
        /* Into the one before, so that a run of small nodes ends up in few full ones. */
        bool merged = false;
        if (i > 0) TRY(merge_with_next(tree, node, i - 1, &merged));
        if (merged) continue;
        TRY(merge_with_next(tree, node, i, &merged));
        if (!merged) i++;
    }
    name_children(node);
    return NULL;
}

struct error *tree_settle(struct bolt_tree *tree)
{
    tree->last = NULL;
    struct bolt_node *root = tree->root;
    if (root == NULL || root->leaf || !root->shrunk) return NULL;
    TRY(settle_branch(tree, root));
    while (tree->root != NULL && !tree->root->leaf && tree->root->count == 1) {
        tree->page = tree->root->items[0].page;
        tree->root = tree->root->items[0].child;
    }
    if (tree->root != NULL && tree->root->count == 0 && !tree->root->leaf)
        tree->root = node_new(tree, true, 4);
    return NULL;
}

/* ---- Giving a whole tree up ---- */

static struct error *give_up_bucket(struct bolt_tree *tree, struct bytes name, struct bytes value,
                                    unsigned nesting);
static struct error *give_up_row(struct bolt_tree *tree, const struct element *row, unsigned nesting);

static struct error *give_up_pages(struct bolt_tree *tree, uint64_t id, unsigned depth, unsigned nesting)
{
    if (depth == BOLT_DEPTH_MAX)
        return error_new(ERROR_CORRUPT, "page %" PRIu64 ": deeper than %d pages", id, BOLT_DEPTH_MAX);
    struct page page;
    TRY(bolt_tx_page(tree->tx, id, &page));
    TRY(give_up_page(tree, &page)); /* first, so that a cycle ends here */
    for (uint32_t i = 0; i < page.count; i++) {
        struct element element = {0};
        if (!page_locate(&page, i, &element)) return page_element_error(&page, i);
        if (!page.leaf)
            TRY(give_up_pages(tree, element.child, depth + 1, nesting));
        else
            TRY(give_up_row(tree, &element, nesting));
    }
    return NULL;
}

static struct error *give_up_row(struct bolt_tree *tree, const struct element *row, unsigned nesting)
{
    tree->tx->rows -= row_checksum(row->key, row->value, row->is_bucket);
    return row->is_bucket ? give_up_bucket(tree, row->key, row->value, nesting + 1) : NULL;
}

/* It has no pages, and no buckets inside. */
static struct error *give_up_inline(struct bolt_tree *tree, struct bytes inline_page)
{
    struct page page;
    TRY(page_open_inline(&page, inline_page));
    for (uint32_t i = 0; i < page.count; i++) {
        struct element element = {0};
        if (!page_locate(&page, i, &element)) return page_element_error(&page, i);
        tree->tx->rows -= row_checksum(element.key, element.value, element.is_bucket);
    }
    return NULL;
}

static struct error *give_up_bucket(struct bolt_tree *tree, struct bytes name, struct bytes value,
                                    unsigned nesting)
{
    if (nesting > BOLT_NESTING_MAX)
        return error_new(ERROR_CORRUPT, "bucket %.*s: buckets are nested more than %d deep",
                         (int)tree->name.size, (const char *)tree->name.data, BOLT_NESTING_MAX);
    struct bucket_header header;
    TRY(bucket_header_decode(value, name, &header));
    if (header.root == 0) return give_up_inline(tree, header.inline_page);
    return give_up_pages(tree, header.root, 0, nesting);
}

static struct error *give_up_node(struct bolt_tree *tree, const struct bolt_node *node)
{
    for (uint32_t i = 0; i < node->count; i++) {
        const struct node_item *item = &node->items[i];
        if (node->leaf) {
            const struct element row = {.key = node_key(node, i),
                                        .value = bytes_of(item->value, item->value_size),
                                        .is_bucket = item->is_bucket};
            TRY(give_up_row(tree, &row, 1));
        } else if (item->child != NULL) {
            TRY(give_up_node(tree, item->child));
        } else {
            TRY(give_up_pages(tree, item->page, 0, 1));
        }
    }
    return NULL;
}

struct error *tree_give_up(struct bolt_tree *tree)
{
    struct error *error = NULL;
    if (tree->root != NULL)
        error = give_up_node(tree, tree->root);
    else if (tree->page != 0)
        error = give_up_pages(tree, tree->page, 0, 1);
    else
        error = give_up_inline(tree, tree->inline_page);
    if (error != NULL) tree->tx->damaged = true;
    return error;
}

/* ---- Writing ---- */

uint64_t node_pages(const struct bolt_node *node, uint32_t page_size)
{
    return (node->bytes + page_size - 1) / page_size;
}

void node_encode(const struct bolt_node *node, uint64_t page, uint32_t overflow, uint8_t *at)
{
    assert(node->count < FREELIST_COUNT_ELSEWHERE);
    page_header_encode(at, page, node->leaf ? PAGE_LEAF : PAGE_BRANCH, node->count, overflow);
    uint8_t *element = at + PAGE_HEADER_SIZE;
    uint8_t *data = element + (size_t)node->count * PAGE_ELEMENT_SIZE;
    for (uint32_t i = 0; i < node->count; i++, element += PAGE_ELEMENT_SIZE) {
        const struct node_item *item = &node->items[i];
        uint32_t pos = (uint32_t)(data - element);
        if (node->leaf) {
            store32(element, item->is_bucket ? ELEMENT_IS_BUCKET : 0);
            store32(element + 4, pos);
            store32(element + 8, item->key_size);
            store32(element + 12, item->value_size);
        } else {
            store32(element, pos);
            store32(element + 4, item->key_size);
            store64(element + 8, item->child != NULL ? item->child->page : item->page);
        }
        memcpy(data, item->key, item->key_size);
        data += item->key_size;
        if (item->value_size > 0) memcpy(data, item->value, item->value_size);
        data += item->value_size;
    }
    assert((uint64_t)(data - at) == node->bytes);
}
