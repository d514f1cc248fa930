#include "tui/keyspace.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

struct keyspace {
    struct key_node *root;
    struct key_row *rows; /* flattened; valid unless dirty */
    size_t row_count, row_capacity;
    bool is_dirty;
    size_t visible_first, visible_count;
    size_t node_count;
    size_t under_way;
    uint64_t next_id;
    int64_t revision;
    char *filter;
    struct buf range_end; /* of the request handed out last */
};

void key_request_prefix_end(struct bytes prefix, struct buf *end)
{
    buf_clear(end);
    buf_append_bytes(end, prefix);
    while (end->size > 0 && end->data[end->size - 1] == 0xff) end->size--;
    if (end->size == 0)
        buf_append_byte(end, 0); /* to the end of all keys */
    else
        end->data[end->size - 1]++;
}

/* ---- Nodes ---- */

static struct key_node *node_new(struct keyspace *keyspace, struct key_node *parent, struct bytes path,
                                 size_t name_at, bool is_directory)
{
    struct key_node *node = mem_zalloc(1, sizeof(*node));
    node->parent = parent;
    node->path = mem_dup(path.data == NULL ? (const uint8_t *)"" : path.data, path.size);
    node->path_size = path.size;
    node->name_at = name_at;
    node->is_directory = is_directory;
    node->count = -1;
    node->wanted = KEYSPACE_PAGE;
    buf_append_bytes(&node->resume, path);
    keyspace->node_count++;
    return node;
}

static void node_free(struct keyspace *keyspace, struct key_node *node)
{
    for (size_t i = 0; i < node->child_count; i++) node_free(keyspace, node->children[i]);
    if (node->count_id != 0) keyspace->under_way--;
    if (node->list_id != 0) keyspace->under_way--;
    free(node->children);
    free(node->path);
    free(node->failure);
    buf_deinit(&node->resume);
    keyspace->node_count--;
    free(node);
}

static struct key_node *root_new(struct keyspace *keyspace, struct bytes prefix)
{
    struct key_node *root = node_new(keyspace, NULL, prefix, 0, true);
    root->is_open = true;
    return root;
}

struct keyspace *keyspace_new(void)
{
    struct keyspace *keyspace = mem_zalloc(1, sizeof(*keyspace));
    keyspace->root = root_new(keyspace, BYTES_EMPTY);
    keyspace->filter = mem_strdup("");
    keyspace->is_dirty = true;
    return keyspace;
}

void keyspace_free(struct keyspace *keyspace)
{
    if (keyspace == NULL) return;
    node_free(keyspace, keyspace->root);
    free(keyspace->rows);
    free(keyspace->filter);
    buf_deinit(&keyspace->range_end);
    free(keyspace);
}

void keyspace_set_root(struct keyspace *keyspace, struct bytes prefix)
{
    struct key_node *root = root_new(keyspace, prefix);
    node_free(keyspace, keyspace->root);
    keyspace->root = root;
    keyspace->is_dirty = true;
    keyspace->visible_first = 0;
}

void keyspace_set_filter(struct keyspace *keyspace, const char *text)
{
    char *copy = mem_strdup(text);
    free(keyspace->filter);
    keyspace->filter = copy;
    keyspace->is_dirty = true;
}

const char *keyspace_filter(const struct keyspace *keyspace)
{
    return keyspace->filter;
}

const struct key_node *keyspace_root(const struct keyspace *keyspace)
{
    return keyspace->root;
}

int64_t keyspace_revision(const struct keyspace *keyspace)
{
    return keyspace->revision;
}

/* ---- Rows ---- */

static void add_row(struct keyspace *keyspace, struct key_node *node, enum key_row_kind kind, unsigned depth)
{
    if (keyspace->row_count == keyspace->row_capacity) {
        keyspace->row_capacity = keyspace->row_capacity == 0 ? 256 : keyspace->row_capacity * 2;
        keyspace->rows = mem_realloc(keyspace->rows, keyspace->row_capacity * sizeof(*keyspace->rows));
    }
    keyspace->rows[keyspace->row_count++] = (struct key_row){.node = node, .kind = kind, .depth = depth};
}

static bool passes(const struct keyspace *keyspace, const struct key_node *node)
{
    size_t size = strlen(keyspace->filter);
    return size == 0 || memmem(node->path, node->path_size, keyspace->filter, size) != NULL;
}

/* Adds the rows below `node`. With a filter, a directory stays when something inside of it does. */
static void add_rows(struct keyspace *keyspace, struct key_node *node, unsigned depth)
{
    for (size_t i = 0; i < node->child_count; i++) {
        struct key_node *child = node->children[i];
        size_t before = keyspace->row_count;
        add_row(keyspace, child, KEY_ROW_NODE, depth);
        if (child->is_directory && child->is_open) add_rows(keyspace, child, depth + 1);
        if (keyspace->row_count == before + 1 && !passes(keyspace, child)) keyspace->row_count = before;
    }
    if (node->failure != NULL)
        add_row(keyspace, node, KEY_ROW_FAILURE, depth);
    else if (!node->is_complete)
        add_row(keyspace, node, KEY_ROW_MORE, depth);
}

static void flatten(struct keyspace *keyspace)
{
    if (!keyspace->is_dirty) return;
    keyspace->row_count = 0;
    add_rows(keyspace, keyspace->root, 0);
    keyspace->is_dirty = false;
}

size_t keyspace_row_count(struct keyspace *keyspace)
{
    flatten(keyspace);
    return keyspace->row_count;
}

const struct key_row *keyspace_row(struct keyspace *keyspace, size_t index)
{
    flatten(keyspace);
    assert(index < keyspace->row_count);
    return &keyspace->rows[index];
}

size_t keyspace_find(struct keyspace *keyspace, struct bytes path, bool is_directory)
{
    flatten(keyspace);
    for (size_t i = 0; i < keyspace->row_count; i++) {
        const struct key_row *row = &keyspace->rows[i];
        if (row->kind == KEY_ROW_NODE && row->node->is_directory == is_directory &&
            bytes_equal(key_node_path(row->node), path))
            return i;
    }
    return SIZE_MAX;
}

void keyspace_open(struct keyspace *keyspace, struct key_node *node, bool open)
{
    if (!node->is_directory || node->is_open == open) return;
    node->is_open = open;
    keyspace->is_dirty = true;
}

bool keyspace_set_visible(struct keyspace *keyspace, size_t first, size_t count, bool may_page)
{
    keyspace->visible_first = first;
    keyspace->visible_count = count;
    flatten(keyspace);
    bool pages = false;
    for (size_t i = first; may_page && i < first + count && i < keyspace->row_count; i++) {
        struct key_node *node = keyspace->rows[i].node;
        if (keyspace->rows[i].kind != KEY_ROW_MORE || node->list_id != 0) continue;
        if (node->wanted > node->child_count) continue;
        node->wanted = node->child_count + KEYSPACE_PAGE;
        pages = true;
    }
    return pages;
}

static void reload_node(struct keyspace *keyspace, struct key_node *node)
{
    if (node->count_id == 0) node->count = -1;
    node->count_failed = false;
    if (!node->is_directory) return;
    free(node->failure);
    node->failure = NULL;
    /* A listing under way answers for what was; it is not awaited. */
    if (node->list_id != 0) keyspace->under_way--;
    node->list_id = 0;
    node->is_complete = false;
    buf_clear(&node->resume);
    buf_append_bytes(&node->resume, key_node_path(node));
    if (node->wanted < node->child_count) node->wanted = node->child_count;
    for (size_t i = 0; i < node->child_count; i++) reload_node(keyspace, node->children[i]);
}

void keyspace_reload(struct keyspace *keyspace)
{
    reload_node(keyspace, keyspace->root);
    keyspace->is_dirty = true;
}

static bool retry_node(struct keyspace *keyspace, struct key_node *node)
{
    bool any = node->failure != NULL && keyspace->node_count <= KEYSPACE_NODES_MAX;
    if (any) {
        free(node->failure);
        node->failure = NULL;
    }
    node->count_failed = false;
    for (size_t i = 0; i < node->child_count; i++) any |= retry_node(keyspace, node->children[i]);
    return any;
}

void keyspace_retry(struct keyspace *keyspace)
{
    if (retry_node(keyspace, keyspace->root)) keyspace->is_dirty = true;
}

/* ---- Requests ---- */

static size_t children_before(const struct key_node *node, struct bytes key)
{
    size_t count = 0;
    while (count < node->child_count && bytes_compare(key_node_path(node->children[count]), key) < 0) count++;
    return count;
}

static bool wants_listing(const struct key_node *node)
{
    if (!node->is_directory || !node->is_open || node->is_complete || node->failure != NULL) return false;
    return node->list_id == 0 && children_before(node, buf_bytes(&node->resume)) < node->wanted;
}

static struct key_node *find_listing(struct key_node *node)
{
    if (wants_listing(node)) return node;
    for (size_t i = 0; node->is_open && i < node->child_count; i++) {
        struct key_node *found = find_listing(node->children[i]);
        if (found != NULL) return found;
    }
    return NULL;
}

static bool wants_count(const struct key_node *node)
{
    return node->is_directory && node->count < 0 && node->count_id == 0 && !node->count_failed;
}

static struct key_node *find_count(struct keyspace *keyspace)
{
    flatten(keyspace);
    if (wants_count(keyspace->root)) return keyspace->root;
    size_t end = keyspace->visible_first + keyspace->visible_count;
    for (size_t i = keyspace->visible_first; i < end && i < keyspace->row_count; i++)
        if (keyspace->rows[i].kind == KEY_ROW_NODE && wants_count(keyspace->rows[i].node))
            return keyspace->rows[i].node;
    return NULL;
}

/* The first key of a range: etcd takes "\0" for the smallest. */
static struct bytes first_key(struct bytes key)
{
    return key.size == 0 ? bytes_of("", 1) : key;
}

bool keyspace_next(struct keyspace *keyspace, struct key_request *request)
{
    if (keyspace->under_way >= KEYSPACE_REQUESTS_MAX) return false;
    struct key_node *node = find_listing(keyspace->root);
    bool is_listing = node != NULL;
    if (node == NULL) node = find_count(keyspace);
    if (node == NULL) return false;
    key_request_prefix_end(key_node_path(node), &keyspace->range_end);
    *request = (struct key_request){.id = ++keyspace->next_id, .range_end = buf_bytes(&keyspace->range_end)};
    if (is_listing) {
        node->list_id = request->id;
        request->kind = KEY_REQUEST_LIST;
        request->key = first_key(buf_bytes(&node->resume));
        request->limit = KEYSPACE_FETCH;
    } else {
        node->count_id = request->id;
        request->kind = KEY_REQUEST_COUNT;
        request->key = first_key(key_node_path(node));
    }
    keyspace->under_way++;
    return true;
}

/* ---- Answers ---- */

static struct key_node *find_request(struct key_node *node, uint64_t id)
{
    if (node->list_id == id || node->count_id == id) return node;
    for (size_t i = 0; i < node->child_count; i++) {
        struct key_node *found = find_request(node->children[i], id);
        if (found != NULL) return found;
    }
    return NULL;
}

/* How much of the key names a child of `directory`, and whether that is a directory. A '/' right at the start
 * belongs to the name, so that "/a/b" lies in "/a/". */
static size_t child_size(const struct key_node *directory, struct bytes key, bool *is_directory)
{
    size_t start = directory->path_size;
    const uint8_t *slash = NULL;
    if (key.size > start + 1) slash = memchr(key.data + start + 1, '/', key.size - start - 1);
    *is_directory = slash != NULL;
    return slash == NULL ? key.size : (size_t)(slash - key.data) + 1;
}

static void insert_child(struct key_node *node, size_t at, struct key_node *child)
{
    if (node->child_count == node->child_capacity) {
        node->child_capacity = node->child_capacity == 0 ? 16 : node->child_capacity * 2;
        node->children = mem_realloc(node->children, node->child_capacity * sizeof(*node->children));
    }
    memmove(&node->children[at + 1], &node->children[at], (node->child_count - at) * sizeof(*node->children));
    node->children[at] = child;
    node->child_count++;
}

static void remove_children(struct keyspace *keyspace, struct key_node *node, size_t from, size_t to)
{
    if (from >= to) return;
    for (size_t i = from; i < to; i++) node_free(keyspace, node->children[i]);
    memmove(&node->children[from], &node->children[to], (node->child_count - to) * sizeof(*node->children));
    node->child_count -= to - from;
}

/* Takes one listed key. *place: the child behind the last one that is confirmed; children passed over are
 * gone. Afterwards the listing would go on at node->resume. */
static void take_key(struct keyspace *keyspace, struct key_node *node, struct bytes key, size_t *place)
{
    if (bytes_compare(key, buf_bytes(&node->resume)) < 0)
        return; /* inside the last child, or not asked for */
    if (!bytes_starts_with(key, key_node_path(node))) return;
    bool is_directory;
    struct bytes path = bytes_of(key.data, child_size(node, key, &is_directory));
    size_t at = *place;
    while (at < node->child_count && bytes_compare(key_node_path(node->children[at]), path) < 0) at++;
    remove_children(keyspace, node, *place, at);
    at = *place;
    bool is_known = at < node->child_count && bytes_equal(key_node_path(node->children[at]), path) &&
                    node->children[at]->is_directory == is_directory;
    if (!is_known) insert_child(node, at, node_new(keyspace, node, path, node->path_size, is_directory));
    *place = at + 1;
    if (is_directory) {
        key_request_prefix_end(path, &node->resume);
    } else {
        buf_clear(&node->resume);
        buf_append_bytes(&node->resume, key);
        buf_append_byte(&node->resume, 0);
    }
}

static void set_failure(struct key_node *node, const char *why)
{
    free(node->failure);
    node->failure = mem_strdup(why);
}

static void take_listing(struct keyspace *keyspace, struct key_node *node, const struct key_answer *answer)
{
    if (answer->error != NULL) {
        set_failure(node, answer->error);
        return;
    }
    size_t place = children_before(node, buf_bytes(&node->resume));
    for (size_t i = 0; i < answer->kv_count; i++)
        take_key(keyspace, node, bytes_of(answer->kvs[i]->key.data, answer->kvs[i]->key.len), &place);
    if (!answer->more || answer->kv_count == 0) {
        node->is_complete = true;
        remove_children(keyspace, node, place, node->child_count);
        return;
    }
    size_t reached = children_before(node, buf_bytes(&node->resume));
    remove_children(keyspace, node, place, reached);
    if (place >= node->wanted) remove_children(keyspace, node, place, node->child_count);
    if (keyspace->node_count > KEYSPACE_NODES_MAX) set_failure(node, "too many rows: open a narrower prefix");
}

void keyspace_answer(struct keyspace *keyspace, const struct key_answer *answer)
{
    struct key_node *node = find_request(keyspace->root, answer->id);
    if (node == NULL) return;
    assert(keyspace->under_way > 0);
    keyspace->under_way--;
    if (answer->error == NULL && answer->revision > keyspace->revision) keyspace->revision = answer->revision;
    keyspace->is_dirty = true;
    if (node->list_id == answer->id) {
        node->list_id = 0;
        take_listing(keyspace, node, answer);
        return;
    }
    node->count_id = 0;
    node->count_failed = answer->error != NULL;
    node->count = answer->error != NULL ? -1 : answer->count;
}
