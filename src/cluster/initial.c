/* The first start: ids, --initial-cluster and what must be true of it. */
#include "base/memory.h"
#include "base/text.h"
#include "cluster/cluster_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- ids ---- */

static uint64_t digest_id(cluster_sha1 *sha1, struct buf *input)
{
    uint8_t digest[20];
    sha1(buf_bytes(input), digest);
    buf_deinit(input);
    return be64_get(digest);
}

static void append_sorted(struct buf *out, const struct cluster_urls *urls)
{
    struct cluster_urls sorted = {0};
    cluster_urls_copy(&sorted, urls);
    cluster_urls_sort(&sorted);
    for (size_t i = 0; i < sorted.count; i++) buf_append_string(out, sorted.items[i]);
    cluster_urls_deinit(&sorted);
}

uint64_t cluster_member_id(cluster_sha1 *sha1, const struct cluster_urls *peer_urls, const char *token)
{
    struct buf input = {0};
    append_sorted(&input, peer_urls);
    buf_append_string(&input, token);
    return digest_id(sha1, &input);
}

uint64_t cluster_added_member_id(cluster_sha1 *sha1, const struct cluster_urls *peer_urls,
                                 int64_t unix_seconds)
{
    struct buf input = {0};
    append_sorted(&input, peer_urls);
    buf_printf(&input, "%" PRId64, unix_seconds);
    return digest_id(sha1, &input);
}

uint64_t cluster_id_of(cluster_sha1 *sha1, const uint64_t *member_ids, size_t count)
{
    struct raft_ids sorted = {0};
    for (size_t i = 0; i < count; i++) raft_ids_append(&sorted, member_ids[i]);
    raft_ids_sort(&sorted);
    struct buf input = {0};
    for (size_t i = 0; i < count; i++) {
        be64_put(buf_reserve(&input, 8), sorted.items[i]);
        input.size += 8;
    }
    raft_ids_deinit(&sorted);
    return digest_id(sha1, &input);
}

/* ---- --initial-cluster ---- */

void cluster_initial_deinit(struct cluster_initial *initial)
{
    for (size_t i = 0; i < initial->count; i++) {
        free(initial->items[i].name);
        cluster_urls_deinit(&initial->items[i].peer_urls);
    }
    free(initial->items);
    *initial = (struct cluster_initial){0};
}

static struct cluster_initial_member *find_name(const struct cluster_initial *initial, struct bytes name)
{
    for (size_t i = 0; i < initial->count; i++)
        if (bytes_equal(bytes_from_string(initial->items[i].name), name)) return &initial->items[i];
    return NULL;
}

const struct cluster_initial_member *cluster_initial_find(const struct cluster_initial *initial,
                                                          const char *name)
{
    return find_name(initial, bytes_from_string(name));
}

/* name=url, or the name alone, which is an empty address and refused later. */
static struct error *add_pair(struct cluster_initial *initial, struct bytes pair)
{
    const uint8_t *equals = memchr(pair.data, '=', pair.size);
    size_t name_size = equals == NULL ? pair.size : (size_t)(equals - pair.data);
    struct bytes name = bytes_of(pair.data, name_size);
    struct bytes url = equals == NULL ? BYTES_EMPTY : bytes_of(equals + 1, pair.size - name_size - 1);
    struct cluster_initial_member *member = find_name(initial, name);
    if (member == NULL) {
        if (initial->count == CLUSTER_MEMBERS_MAX)
            return error_new(ERROR_LIMIT, "more than %d members", (int)CLUSTER_MEMBERS_MAX);
        initial->items = mem_realloc(initial->items, (initial->count + 1) * sizeof(initial->items[0]));
        member = &initial->items[initial->count++];
        *member = (struct cluster_initial_member){.name = mem_printf("%.*s", (int)name.size, name.data)};
    }
    if (member->peer_urls.count == CLUSTER_URLS_MAX)
        return error_new(ERROR_LIMIT, "more than %d URLs of %s", (int)CLUSTER_URLS_MAX, member->name);
    cluster_urls_append(&member->peer_urls, url);
    return NULL;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct cluster_initial_member *)a)->name,
                  ((const struct cluster_initial_member *)b)->name);
}

static struct error *check_all_urls(struct cluster_initial *initial)
{
    for (size_t i = 0; i < initial->count; i++) {
        struct cluster_urls *urls = &initial->items[i].peer_urls, checked = {0};
        TRY(cluster_urls_check((const char *const *)urls->items, urls->count, &checked));
        cluster_urls_deinit(urls);
        *urls = checked;
    }
    return NULL;
}

struct error *cluster_initial_parse(const char *text, struct cluster_initial *initial)
{
    struct cluster_initial parsed = {0};
    struct error *error = NULL;
    while (*text != '\0' && error == NULL) {
        size_t size = strcspn(text, ",");
        if (size > 0) error = add_pair(&parsed, bytes_of(text, size));
        text += size + (text[size] == ',');
    }
    if (parsed.count > 1) qsort(parsed.items, parsed.count, sizeof(parsed.items[0]), compare_names);
    if (error == NULL) error = check_all_urls(&parsed);
    if (error != NULL) {
        cluster_initial_deinit(&parsed);
        return error;
    }
    cluster_initial_deinit(initial);
    *initial = parsed;
    return NULL;
}

static void write_pairs(struct buf *out, const char *name, const struct cluster_urls *urls)
{
    for (size_t i = 0; i < urls->count; i++) {
        if (out->size > 0) buf_append_byte(out, ',');
        buf_append_string(out, name);
        buf_append_byte(out, '=');
        buf_append_string(out, urls->items[i]);
    }
}

void cluster_initial_write(struct buf *out, const struct cluster_initial *initial)
{
    struct buf text = {0};
    for (size_t i = 0; i < initial->count; i++)
        write_pairs(&text, initial->items[i].name, &initial->items[i].peer_urls);
    buf_append_bytes(out, buf_bytes(&text));
    buf_deinit(&text);
}

/* ---- checks ---- */

static bool has_duplicate_url(const struct cluster_initial *initial)
{
    struct cluster_urls all = {0};
    bool found = false;
    for (size_t i = 0; i < initial->count; i++) {
        const struct cluster_urls *urls = &initial->items[i].peer_urls;
        for (size_t j = 0; j < urls->count; j++) cluster_urls_append(&all, bytes_from_string(urls->items[j]));
    }
    cluster_urls_sort(&all);
    for (size_t i = 1; i < all.count && !found; i++) found = strcmp(all.items[i - 1], all.items[i]) == 0;
    cluster_urls_deinit(&all);
    return found;
}

/* Go's %q of a []string. */
static void quote_list(struct buf *out, const struct cluster_urls *urls)
{
    buf_append_byte(out, '[');
    for (size_t i = 0; i < urls->count; i++) {
        if (i > 0) buf_append_byte(out, ' ');
        text_go_quote(out, bytes_from_string(urls->items[i]));
    }
    buf_append_byte(out, ']');
}

/* Why two sorted lists are not the same. */
static void describe_difference(struct buf *out, const struct cluster_urls *a, const struct cluster_urls *b)
{
    if (a->count != b->count) {
        buf_append_string(out, "len(");
        quote_list(out, a);
        buf_append_string(out, ") != len(");
        quote_list(out, b);
        buf_append_byte(out, ')');
        return;
    }
    size_t i = 0;
    while (i + 1 < a->count && strcmp(a->items[i], b->items[i]) == 0) i++;
    buf_append_string(out, "resolved urls: ");
    text_go_quote(out, bytes_from_string(a->items[i]));
    buf_append_string(out, " != ");
    text_go_quote(out, bytes_from_string(b->items[i]));
}

/* name=url of what is in `these` and not in `those`. */
static void write_missing(struct buf *out, const char *name, const struct cluster_urls *these,
                          const struct cluster_urls *those)
{
    for (size_t i = 0; i < these->count; i++) {
        if (cluster_urls_contain(those, these->items[i])) continue;
        if (out->size > 0) buf_append_byte(out, ',');
        if (name != NULL) buf_printf(out, "%s=", name);
        buf_append_string(out, these->items[i]);
    }
}

static struct error *refuse_advertised(const char *name, const struct cluster_urls *configured,
                                       const struct cluster_urls *advertised, const char *why)
{
    struct buf missing = {0}, list = {0};
    struct error *error;
    write_missing(&missing, name, configured, advertised);
    if (missing.size > 0) {
        cluster_urls_join(&list, advertised);
        error = error_new(ERROR_INVALID,
                          "--initial-cluster has %s but missing from --initial-advertise-peer-urls=%s (%s)",
                          buf_string(&missing), buf_string(&list), why);
    } else {
        write_pairs(&list, name, advertised);
        write_missing(&missing, NULL, advertised, configured);
        if (missing.size > 0)
            error = error_new(ERROR_INVALID,
                              "--initial-advertise-peer-urls has %s but missing from --initial-cluster=%s",
                              buf_string(&missing), buf_string(&list));
        else {
            cluster_urls_join(&missing, advertised);
            error = error_new(ERROR_INVALID, "failed to resolve %s to match --initial-cluster=%s (%s)",
                              buf_string(&missing), buf_string(&list), why);
        }
    }
    buf_deinit(&missing);
    buf_deinit(&list);
    return error;
}

static struct error *check_advertised(const char *name, const struct cluster_urls *configured,
                                      const struct cluster_urls *advertised, const char *resolve_failure)
{
    struct cluster_urls sorted = {0};
    struct buf why = {0};
    cluster_urls_copy(&sorted, advertised);
    cluster_urls_sort(&sorted);
    struct error *error = NULL;
    if (!cluster_urls_equal(&sorted, configured)) {
        if (resolve_failure != NULL)
            buf_append_string(&why, resolve_failure);
        else
            describe_difference(&why, &sorted, configured);
        error = refuse_advertised(name, configured, &sorted, buf_string(&why));
    }
    cluster_urls_deinit(&sorted);
    buf_deinit(&why);
    return error;
}

bool cluster_initial_needs_resolving(const struct cluster_initial *initial, const char *name,
                                     const struct cluster_urls *advertised)
{
    const struct cluster_initial_member *member = cluster_initial_find(initial, name);
    if (member == NULL || member->peer_urls.count != advertised->count) return false;
    struct error *error = check_advertised(name, &member->peer_urls, advertised, NULL);
    bool differ = error != NULL;
    error_free(error);
    return differ;
}

struct error *cluster_initial_check(const struct cluster_initial *initial, const char *name,
                                    const struct cluster_urls *advertised, bool same_when_resolved,
                                    const char *resolve_failure)
{
    const struct cluster_initial_member *member = cluster_initial_find(initial, name);
    if (member == NULL) {
        struct buf quoted = {0};
        text_go_quote(&quoted, bytes_from_string(name));
        struct error *error =
            error_new(ERROR_INVALID, "couldn't find local name %s in the initial cluster configuration",
                      buf_string(&quoted));
        buf_deinit(&quoted);
        return error;
    }
    if (advertised != NULL && !same_when_resolved)
        TRY(check_advertised(name, &member->peer_urls, advertised, resolve_failure));
    if (!has_duplicate_url(initial)) return NULL;
    struct buf all = {0};
    cluster_initial_write(&all, initial);
    struct error *error = error_new(ERROR_INVALID, "initial cluster %s has duplicate url", buf_string(&all));
    buf_deinit(&all);
    return error;
}

/* ---- a new cluster ---- */

struct error *cluster_bootstrap(struct cluster *cluster, const struct cluster_initial *initial,
                                const char *token, cluster_sha1 *sha1, uint64_t *cluster_id)
{
    assert(cluster->count == 0);
    uint64_t ids[CLUSTER_MEMBERS_MAX];
    for (size_t i = 0; i < initial->count; i++) {
        uint64_t id = cluster_member_id(sha1, &initial->items[i].peer_urls, token);
        if (id == RAFT_NONE) return error_new(ERROR_INVALID, "cannot use %x as member id", 0);
        if (cluster_find(cluster, id) != NULL)
            return error_new(ERROR_INVALID, "member exists with identical ID %" PRIx64, id);
        struct cluster_member *member = cluster_find_or_add(cluster, id);
        assert(member != NULL);
        free(member->name);
        member->name = mem_strdup(initial->items[i].name);
        cluster_urls_copy(&member->peer_urls, &initial->items[i].peer_urls);
        ids[i] = id;
    }
    *cluster_id = cluster_id_of(sha1, ids, initial->count);
    return NULL;
}

/* ---- joining ---- */

static bool same_addresses(const struct cluster_urls *a, const struct cluster_urls *b,
                           cluster_same_urls *same, void *context)
{
    if (a->count != b->count) return false;
    struct cluster_urls first = {0}, second = {0};
    cluster_urls_copy(&first, a);
    cluster_urls_copy(&second, b);
    cluster_urls_sort(&first);
    cluster_urls_sort(&second);
    bool equal = cluster_urls_equal(&first, &second);
    if (!equal && same != NULL) equal = same(context, &first, &second);
    cluster_urls_deinit(&first);
    cluster_urls_deinit(&second);
    return equal;
}

struct error *cluster_match(const struct cluster_initial *initial, const struct cluster_member *remote,
                            size_t remote_count, cluster_same_urls *same, void *context, uint64_t *ids)
{
    if (initial->count != remote_count) return error_new(ERROR_INVALID, "member count is unequal");
    for (size_t j = 0; j < initial->count; j++) ids[j] = RAFT_NONE;
    for (size_t i = 0; i < remote_count; i++) {
        size_t j = 0;
        while (j < initial->count &&
               (ids[j] != RAFT_NONE ||
                !same_addresses(&remote[i].peer_urls, &initial->items[j].peer_urls, same, context)))
            j++;
        if (j < initial->count) {
            ids[j] = remote[i].id;
            continue;
        }
        struct buf urls = {0};
        cluster_urls_join(&urls, &remote[i].peer_urls);
        struct error *error =
            error_new(ERROR_INVALID, "PeerURLs: no match found for existing member (%" PRIx64 ", [%s])",
                      remote[i].id, buf_string(&urls));
        buf_deinit(&urls);
        return error;
    }
    return NULL;
}
