/* keyspace: the keys as a tree cut at '/', loaded page by page as it is looked at.
 *
 * A directory is what keys share up to a '/'; listing one skips over whatever lies inside of its
 * subdirectories, so that a page costs a handful of small requests however many keys there are. Only rows
 * that are visible are counted, only directories that are open are listed, and of those only so far as
 * somebody looks. Requests are pulled by keyspace_next; answers go to keyspace_answer. Pure: no I/O, no
 * clock.
 */
#ifndef TUI_KEYSPACE_H
#define TUI_KEYSPACE_H

#include "tui/key_request.h"

enum {
    KEYSPACE_PAGE = 64,              /* children loaded at a time */
    KEYSPACE_FETCH = 100,            /* keys in one answer */
    KEYSPACE_REQUESTS_MAX = 4,       /* under way at a time */
    KEYSPACE_NODES_MAX = 200 * 1000, /* loaded at a time; then the tree says so */
};

struct key_node {
    struct key_node *parent;
    uint8_t *path; /* the whole key, or the prefix of a directory with its '/'; owned */
    size_t path_size;
    size_t name_at; /* where the own part of the path starts */
    bool is_directory, is_open;
    int64_t count;              /* keys inside; -1: not known */
    uint64_t count_id, list_id; /* requests under way, 0: none */
    bool count_failed;
    struct key_node **children;
    size_t child_count, child_capacity;
    size_t wanted;     /* children to be loaded */
    bool is_complete;  /* all of them are there */
    struct buf resume; /* where the listing goes on */
    char *failure;     /* why the listing stopped, or NULL */
};

enum key_row_kind { KEY_ROW_NODE, KEY_ROW_MORE, KEY_ROW_FAILURE };

struct key_row {
    struct key_node *node; /* MORE and FAILURE: the directory whose children they follow */
    enum key_row_kind kind;
    unsigned depth;
};

struct keyspace;

struct keyspace *keyspace_new(void) __attribute__((returns_nonnull, warn_unused_result));
/* NULL is allowed. */
void keyspace_free(struct keyspace *keyspace);
/* Starts again below a prefix (empty: everything). */
void keyspace_set_root(struct keyspace *keyspace, struct bytes prefix);
/* Shows only rows whose path contains the text, and the directories that lead to them. "": all. */
void keyspace_set_filter(struct keyspace *keyspace, const char *text);
const char *keyspace_filter(const struct keyspace *keyspace);
const struct key_node *keyspace_root(const struct keyspace *keyspace);
/* Lists and counts everything again; what is gone goes as the answers come. */
void keyspace_reload(struct keyspace *keyspace);

/* Asks again what has failed. */
void keyspace_retry(struct keyspace *keyspace);

size_t keyspace_row_count(struct keyspace *keyspace);
/* Valid until the next change. */
const struct key_row *keyspace_row(struct keyspace *keyspace, size_t index);
/* Row of that path, SIZE_MAX when it is not shown. */
size_t keyspace_find(struct keyspace *keyspace, struct bytes path, bool is_directory);
void keyspace_open(struct keyspace *keyspace, struct key_node *node, bool open);
/* Which rows are looked at. With may_page, directories whose end is among them load a further page; returns
 * whether one does. Only what a user does may page: else who sits at an end would load everything. */
bool keyspace_set_visible(struct keyspace *keyspace, size_t first, size_t count, bool may_page);

/* The next request to be sent; false: none now. */
bool keyspace_next(struct keyspace *keyspace, struct key_request *request);
/* Answers of unknown ids (of nodes that are gone) are ignored. */
void keyspace_answer(struct keyspace *keyspace, const struct key_answer *answer);
/* Revision of the newest answer. */
int64_t keyspace_revision(const struct keyspace *keyspace);

static inline struct bytes key_node_path(const struct key_node *node)
{
    return bytes_of(node->path, node->path_size);
}
static inline struct bytes key_node_name(const struct key_node *node)
{
    return bytes_of(node->path + node->name_at, node->path_size - node->name_at);
}

#endif
