#include "auth/interval_tree.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

/* Nodes are numbered from 1; 0 is the black leaf that all leaves are. */
enum { LEAF };
enum side { LEFT, RIGHT };

struct node {
    struct auth_range range;
    size_t child[2];
    size_t parent;
    bool is_red;
};

struct tree {
    struct node *nodes;
    size_t root;
};

/* Empty is above everything. */
static int compare(struct bytes a, struct bytes b)
{
    if (a.size == 0 || b.size == 0) return (a.size == 0) - (b.size == 0);
    return bytes_compare(a, b);
}

/* By begin alone, as up to 3.6. */
static enum side side_of(const struct tree *tree, const struct auth_range *range, size_t node)
{
    return compare(range->begin, tree->nodes[node].range.begin) < 0 ? LEFT : RIGHT;
}

/* `node` goes down on that side, its child on the other side comes up. */
static void rotate(struct tree *tree, size_t node, enum side side)
{
    struct node *nodes = tree->nodes;
    size_t up = nodes[node].child[!side], parent = nodes[node].parent;
    if (up == LEAF) return;
    nodes[node].child[!side] = nodes[up].child[side];
    if (nodes[up].child[side] != LEAF) nodes[nodes[up].child[side]].parent = node;
    nodes[up].parent = parent;
    if (parent == LEAF)
        tree->root = up;
    else
        nodes[parent].child[nodes[parent].child[RIGHT] == node] = up;
    nodes[up].child[side] = node;
    nodes[node].parent = up;
}

static void balance(struct tree *tree, size_t node)
{
    struct node *nodes = tree->nodes;
    while (nodes[nodes[node].parent].is_red) {
        size_t parent = nodes[node].parent, above = nodes[parent].parent;
        enum side side = nodes[above].child[LEFT] == parent ? LEFT : RIGHT;
        size_t uncle = nodes[above].child[!side];
        if (nodes[uncle].is_red) {
            nodes[uncle].is_red = nodes[parent].is_red = false;
            nodes[above].is_red = true;
            node = above;
            continue;
        }
        if (nodes[parent].child[!side] == node) {
            node = parent;
            rotate(tree, node, side);
        }
        parent = nodes[node].parent;
        above = nodes[parent].parent;
        nodes[parent].is_red = false;
        nodes[above].is_red = true;
        rotate(tree, above, !side);
    }
    nodes[tree->root].is_red = false;
}

static void insert(struct tree *tree, size_t number, const struct auth_range *range)
{
    size_t parent = LEAF;
    tree->nodes[number] = (struct node){.range = *range, .is_red = true};
    for (size_t at = tree->root; at != LEAF; at = tree->nodes[at].child[side_of(tree, range, at)])
        parent = at;
    tree->nodes[number].parent = parent;
    if (parent == LEAF)
        tree->root = number;
    else
        tree->nodes[parent].child[side_of(tree, range, parent)] = number;
    balance(tree, number);
}

/* As deep as the tree, which is balanced. */
static bool finds(const struct tree *tree, size_t number, struct bytes key, struct bytes end)
{
    if (number == LEAF) return false;
    const struct node *node = &tree->nodes[number];
    const struct auth_range *range = &node->range;
    if (compare(key, range->begin) < 0 && compare(end, range->begin) <= 0)
        return finds(tree, node->child[LEFT], key, end);
    if (compare(key, range->end) < 0) return true;
    if (compare(range->begin, end) >= 0) return false; /* here too much is left out */
    return finds(tree, node->child[LEFT], key, end) || finds(tree, node->child[RIGHT], key, end);
}

bool auth_interval_tree_finds(const struct auth_range *ranges, size_t count, struct bytes key,
                              struct bytes end)
{
    struct tree tree = {.nodes = mem_zalloc(count + 1, sizeof(*tree.nodes))};
    assert(bytes_compare(end, key) <= 0);
    for (size_t i = 0; i < count; i++) insert(&tree, i + 1, &ranges[i]);
    bool found = finds(&tree, tree.root, key, end);
    free(tree.nodes);
    return found;
}
