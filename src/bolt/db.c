#include "bolt/db.h"

#include "base/memory.h"
#include "storage/fs.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define MAP_LEAST     ((uint64_t)32 << 10)
#define MAP_DOUBLE_TO ((uint64_t)1 << 30) /* powers of two up to here, then steps of as much */
#define MAP_MOST      ((uint64_t)1 << 46)

/* ---- The map ---- */

static uint64_t map_length(uint64_t size)
{
    if (size > MAP_DOUBLE_TO) return (size + MAP_DOUBLE_TO - 1) / MAP_DOUBLE_TO * MAP_DOUBLE_TO;
    uint64_t length = MAP_LEAST;
    while (length < size) length *= 2;
    return length;
}

/* As much as was asked for at opening; where address space is short (a limit, a small machine), what is
 * needed now. */
static struct error *map_file(struct bolt *db, uint64_t size, struct bolt_map *map)
{
    uint64_t least = map_length(size),
             wanted = map_length(size < db->initial_map_size ? db->initial_map_size : size);
    map->length = wanted;
    struct error *error = fs_file_map(db->file, map->length, &map->data);
    if (error != NULL && least < wanted) {
        error_free(error);
        map->length = least;
        error = fs_file_map(db->file, map->length, &map->data);
    }
    return error == NULL ? NULL : error_wrap(error, "map %" PRIu64 " bytes", map->length);
}

struct error *bolt_map_reserve(struct bolt *db, uint64_t size)
{
    if (db->map != NULL && size <= db->map->length) return NULL;
    if (size > MAP_MOST)
        return error_new(ERROR_LIMIT, "%s: %" PRIu64 " bytes are too much to map", db->path, size);
    struct bolt_map *map = mem_zalloc(1, sizeof(*map));
    map->references = 1;
    struct error *error = map_file(db, size, map);
    if (error != NULL) {
        free(map);
        return error;
    }
    pthread_mutex_lock(&db->mutex);
    if (db->map != NULL) bolt_map_release(db, db->map);
    db->map = map;
    pthread_mutex_unlock(&db->mutex);
    return NULL;
}

void bolt_map_release(struct bolt *db, struct bolt_map *map)
{
    assert(map->references > 0);
    if (--map->references > 0) return;
    fs_file_unmap(db->file, map->data, map->length);
    free(map);
}

/* ---- Meta pages ---- */

/* What is wrong with the meta page at `offset`, or NULL. */
static struct error *read_meta(struct bolt *db, uint64_t offset, struct meta *meta, const char **wrong)
{
    uint8_t page[META_PAGE_BYTES];
    size_t size;
    *wrong = "the file ends before it";
    TRY(fs_file_pread(db->file, page, sizeof(page), offset, &size));
    if (size == sizeof(page)) *wrong = meta_decode(page, meta);
    return NULL;
}

/* The second meta page lies one page behind the first, whose size only a valid meta tells: without the first
 * one, every page size is tried. */
static struct error *read_second_meta(struct bolt *db, const struct meta *first, struct meta *second,
                                      const char **wrong)
{
    if (first != NULL) {
        TRY(read_meta(db, first->page_size, second, wrong));
        if (*wrong == NULL && second->page_size != first->page_size)
            *wrong = "its page size is not the first one's";
        return NULL;
    }
    const char *at_default = NULL;
    for (uint32_t size = PAGE_SIZE_MIN; size <= PAGE_SIZE_MAX; size *= 2) {
        TRY(read_meta(db, size, second, wrong));
        if (*wrong == NULL && second->page_size == size) return NULL;
        if (size == BOLT_DEFAULT_PAGE_SIZE) at_default = *wrong;
    }
    *wrong = at_default != NULL ? at_default : "its page size is not where it lies";
    return NULL;
}

static struct error *choose_meta(struct bolt *db)
{
    struct meta metas[2];
    const char *wrong[2];
    TRY(read_meta(db, 0, &metas[0], &wrong[0]));
    TRY(read_second_meta(db, wrong[0] == NULL ? &metas[0] : NULL, &metas[1], &wrong[1]));
    if (wrong[0] != NULL && wrong[1] != NULL)
        return error_new(ERROR_CORRUPT,
                         "no valid meta page (page 0: %s; page 1: %s): not a bolt file, or damaged", wrong[0],
                         wrong[1]);
    if (wrong[0] != NULL)
        db->meta = metas[1];
    else if (wrong[1] != NULL)
        db->meta = metas[0];
    else
        db->meta = metas[metas[1].txid > metas[0].txid ? 1 : 0];
    db->page_size = db->meta.page_size;
    uint64_t size = db->meta.high_water * db->page_size;
    if (size > db->file_size)
        return error_new(ERROR_CORRUPT,
                         "the file has %" PRIu64 " bytes, but its meta page speaks of %" PRIu64,
                         db->file_size, size);
    return NULL;
}

/* ---- Finding the free pages ---- */

/* A walk over all reachable pages, level by level, each level in the order of the file, so that the disk is
 * read forward. Rows are summed up for their checksum. */
struct scan {
    struct bolt *db;
    struct page page;
    uint64_t *seen; /* bit per page */
    uint64_t *now;  /* the level being visited */
    uint64_t *next; /* the level below */
    size_t words;
    bool more;
    uint32_t rows; /* checksum of those seen so far */
};

static struct error *scan_want(struct scan *scan, uint64_t id)
{
    if (id < 2 || id >= scan->db->meta.high_water)
        return error_new(ERROR_CORRUPT,
                         "page %" PRIu64 ": references page %" PRIu64 ", which is outside the file",
                         scan->page.id, id);
    uint64_t bit = (uint64_t)1 << (id % 64);
    if (((scan->seen[id / 64] | scan->next[id / 64] | scan->now[id / 64]) & bit) != 0)
        return error_new(ERROR_CORRUPT, "page %" PRIu64 ": referenced more than once", id);
    scan->next[id / 64] |= bit;
    scan->more = true;
    return NULL;
}

static struct error *scan_leaf(struct scan *scan, const struct page *page)
{
    uint64_t bytes = PAGE_HEADER_SIZE;
    for (uint32_t i = 0; i < page->count; i++) {
        struct element element = {0};
        if (!page_locate(page, i, &element)) return page_element_error(page, i);
        bytes += PAGE_ELEMENT_SIZE + element.key.size + element.value.size;
        if (bytes > page->size)
            return error_new(ERROR_CORRUPT, "page %" PRIu64 ": its elements overlap", scan->page.id);
        scan->rows += row_checksum(element.key, element.value, element.is_bucket);
        if (!element.is_bucket) continue;
        if (page->id == 0)
            return error_new(ERROR_CORRUPT, "page %" PRIu64 ": an inline bucket holds a bucket",
                             scan->page.id);
        struct bucket_header header;
        TRY(bucket_header_decode(element.value, element.key, &header));
        if (header.root != 0) {
            TRY(scan_want(scan, header.root));
            continue;
        }
        struct page inner;
        TRY(page_open_inline(&inner, header.inline_page));
        TRY(scan_leaf(scan, &inner));
    }
    return NULL;
}

static struct error *scan_page(struct scan *scan, uint64_t id)
{
    struct bolt *db = scan->db;
    struct page *page = &scan->page;
    TRY(page_open(page, db->map->data, db->page_size, db->meta.high_water, id));
    for (uint64_t i = id; i <= id + page->overflow; i++) {
        if ((scan->seen[i / 64] >> (i % 64) & 1) != 0)
            return error_new(ERROR_CORRUPT, "page %" PRIu64 ": referenced more than once", i);
        scan->seen[i / 64] |= (uint64_t)1 << (i % 64);
    }
    if (page->leaf) return scan_leaf(scan, page);
    for (uint32_t i = 0; i < page->count; i++) {
        struct element element = {0};
        if (!page_locate(page, i, &element)) return page_element_error(page, i);
        TRY(scan_want(scan, element.child));
    }
    return NULL;
}

static struct error *scan_level(struct scan *scan)
{
    for (size_t word = 0; word < scan->words; word++) {
        for (uint64_t bits = scan->now[word]; bits != 0; bits &= bits - 1)
            TRY(scan_page(scan, word * 64 + (uint64_t)__builtin_ctzll(bits)));
    }
    return NULL;
}

static struct error *scan_all(struct scan *scan)
{
    TRY(scan_want(scan, scan->db->meta.root));
    while (scan->more) {
        uint64_t *visited = scan->now;
        scan->more = false;
        scan->now = scan->next;
        scan->next = visited;
        memset(scan->next, 0, scan->words * sizeof(uint64_t));
        TRY(scan_level(scan));
    }
    return NULL;
}

/* Adds runs of unseen pages to the freelist. */
static void add_unseen(struct scan *scan)
{
    uint64_t high_water = scan->db->meta.high_water, start = 0;
    for (uint64_t id = 2; id <= high_water; id++) {
        bool unseen = id < high_water && (scan->seen[id / 64] >> (id % 64) & 1) == 0;
        if (unseen && start == 0) start = id;
        if (unseen || start == 0) continue;
        bool added = freelist_add(&scan->db->freelist, start, id - start);
        assert(added);
        start = 0;
    }
}

/* A freelist stored in the file is only held against what was found: its own pages are used until the first
 * commit, and a list that names pages in use would ruin the file. */
static struct error *scan_stored_freelist(struct scan *scan, const uint8_t **ids, uint64_t *count)
{
    const struct meta *meta = &scan->db->meta;
    uint32_t overflow;
    *count = 0;
    if (meta->freelist == FREELIST_NOT_STORED) return NULL;
    TRY(page_open_freelist(scan->db->map->data, meta->page_size, meta->high_water, meta->freelist, ids, count,
                           &overflow));
    for (uint64_t id = meta->freelist; id <= meta->freelist + overflow; id++)
        scan->seen[id / 64] |= (uint64_t)1 << (id % 64);
    return NULL;
}

static struct error *scan_file(struct scan *scan)
{
    const uint8_t *ids = NULL;
    uint64_t count, high_water = scan->db->meta.high_water;
    TRY(scan_stored_freelist(scan, &ids, &count));
    TRY(scan_all(scan));
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = load64(ids + i * 8);
        if (id < 2 || id >= high_water || (scan->seen[id / 64] >> (id % 64) & 1) != 0)
            return error_new(ERROR_CORRUPT,
                             "page %" PRIu64 ": the freelist names page %" PRIu64 ", which is in use",
                             scan->db->meta.freelist, id);
    }
    add_unseen(scan);
    return NULL;
}

/* Pages may each be sound, and yet not be those that were written: a flipped bit in a value, a page of
 * before. */
static struct error *check_rows(struct bolt *db, uint32_t found)
{
    uint32_t told;
    db->rows = found;
    if (db->any_rows || !meta_rows_checksum(&db->meta, &told) || told == found) return NULL;
    return error_new(ERROR_CORRUPT,
                     "its rows are not those that were written (their checksum is %08" PRIx32
                     ", not %08" PRIx32 "): the file was damaged",
                     found, told);
}

static struct error *find_free_pages(struct bolt *db)
{
    struct scan scan = {.db = db, .words = (size_t)(db->meta.high_water / 64 + 1)};
    scan.seen = mem_zalloc(scan.words, sizeof(uint64_t));
    scan.now = mem_zalloc(scan.words, sizeof(uint64_t));
    scan.next = mem_zalloc(scan.words, sizeof(uint64_t));
    struct error *error = scan_file(&scan);
    if (error == NULL) error = check_rows(db, scan.rows);
    free(scan.seen);
    free(scan.now);
    free(scan.next);
    return error;
}

/* ---- Opening ---- */

/* Two meta pages, an empty freelist, an empty leaf. */
static struct error *write_new_file(struct fs_file *file, uint32_t page_size)
{
    struct buf image = {0};
    size_t size = (size_t)page_size * 4;
    uint8_t *at = buf_reserve(&image, size);
    memset(at, 0, size);
    struct meta meta = {.page_size = page_size, .root = 3, .freelist = 2, .high_water = 4};
    meta_encode(at, 0, &meta);
    meta.txid = 1;
    meta_encode(at + page_size, 1, &meta);
    page_header_encode(at + (size_t)page_size * 2, 2, PAGE_FREELIST, 0, 0);
    page_header_encode(at + (size_t)page_size * 3, 3, PAGE_LEAF, 0, 0);
    struct error *error = fs_file_truncate(file, 0);
    if (error == NULL) error = fs_file_pwrite(file, at, size, 0);
    if (error == NULL) error = fs_file_sync(file);
    buf_deinit(&image);
    return error;
}

static struct error *sync_parent(struct fs *fs, const char *path)
{
    char *folder = fs_parent(path);
    struct error *error = fs_sync_directory(fs, folder);
    free(folder);
    return error;
}

/* Under a temporary name first: a crash leaves either no file or a good one. */
static struct error *create(struct fs *fs, const char *path, const struct bolt_options *options,
                            struct fs_file **file)
{
    uint32_t page_size = options->page_size == 0 ? BOLT_DEFAULT_PAGE_SIZE : options->page_size;
    if (page_size < PAGE_SIZE_MIN || page_size > PAGE_SIZE_MAX || (page_size & (page_size - 1)) != 0)
        return error_new(ERROR_INVALID, "a page size of %" PRIu32 " bytes is impossible", page_size);
    char *temporary = mem_printf("%s.tmp.new", path);
    *file = NULL;
    struct error *error = fs_open(fs, temporary, FS_WRITE | FS_CREATE, file);
    if (error == NULL && options->lock) error = fs_file_lock(*file, FS_LOCK_EXCLUSIVE);
    if (error == NULL) error = write_new_file(*file, page_size);
    if (error == NULL) error = fs_rename(fs, temporary, path);
    if (error == NULL) error = sync_parent(fs, path);
    if (error != NULL && *file != NULL) {
        error_free(fs_file_close(*file));
        *file = NULL;
    }
    free(temporary);
    return error;
}

static struct error *open_file(struct bolt *db, const struct bolt_options *options)
{
    bool exists = true;
    if (!db->read_only) TRY(fs_exists(db->fs, db->path, &exists));
    if (exists) {
        TRY(fs_open(db->fs, db->path, db->read_only ? FS_READ : FS_WRITE, &db->file));
        if (options->lock) TRY(fs_file_lock(db->file, db->read_only ? FS_LOCK_SHARED : FS_LOCK_EXCLUSIVE));
        TRY(fs_file_size(db->file, &db->file_size));
        if (db->read_only || db->file_size > 0) return NULL;
        struct fs_file *empty = db->file;
        db->file = NULL;
        TRY(fs_file_close(empty));
    }
    TRY(create(db->fs, db->path, options, &db->file));
    return fs_file_size(db->file, &db->file_size);
}

static struct error *open_state(struct bolt *db, const struct bolt_options *options)
{
    TRY(open_file(db, options));
    TRY(choose_meta(db));
    TRY(bolt_map_reserve(db, db->meta.high_water * db->page_size));
    if (db->read_only) return NULL;
    freelist_extend(&db->freelist, db->meta.high_water);
    TRY(find_free_pages(db));
    bolt_publish_free_counts(db);
    return NULL;
}

struct error *bolt_open(struct fs *fs, const char *path, const struct bolt_options *options,
                        struct bolt **result)
{
    static const struct bolt_options defaults;
    if (options == NULL) options = &defaults;
    struct bolt *db = mem_zalloc(1, sizeof(*db));
    db->fs = fs;
    db->path = mem_strdup(path);
    db->read_only = options->read_only;
    db->no_sync = options->no_sync;
    db->any_rows = options->any_rows;
    db->initial_map_size = options->initial_map_size;
    db->arena = arena_new();
    freelist_init(&db->freelist);
    TAILQ_INIT(&db->readers);
    pthread_mutex_init(&db->mutex, NULL);
    struct error *error = open_state(db, options);
    if (error != NULL) {
        error_free(bolt_close(db));
        return error_wrap(error, "open %s", path);
    }
    *result = db;
    return NULL;
}

struct error *bolt_rename(struct bolt *db, const char *path, bool *renamed)
{
    *renamed = false;
    TRY(fs_rename(db->fs, db->path, path));
    *renamed = true;
    free(db->path);
    db->path = mem_strdup(path);
    return sync_parent(db->fs, path);
}

static struct error *close_with(struct bolt *db, struct error *(*close_file)(struct fs_file *file))
{
    assert(db->writer == NULL && TAILQ_EMPTY(&db->readers));
    if (db->map != NULL) bolt_map_release(db, db->map);
    struct error *error = db->file != NULL ? close_file(db->file) : NULL;
    freelist_deinit(&db->freelist);
    arena_free(db->arena);
    buf_deinit(&db->staging);
    pthread_mutex_destroy(&db->mutex);
    free(db->failure);
    free(db->path);
    free(db);
    return error;
}

struct error *bolt_close(struct bolt *db)
{
    return db == NULL ? NULL : close_with(db, fs_file_close);
}

struct error *bolt_discard(struct bolt *db)
{
    return close_with(db, fs_file_discard);
}

/* ---- Statistics ---- */

void bolt_publish_free_counts(struct bolt *db)
{
    db->free_pages = db->freelist.free_count;
    db->pending_pages = db->freelist.pending_count;
}

void bolt_stats(struct bolt *db, struct bolt_stats *stats)
{
    pthread_mutex_lock(&db->mutex);
    const struct bolt_tx *oldest = TAILQ_FIRST(&db->readers);
    *stats = (struct bolt_stats){
        .page_size = db->page_size,
        .txid = db->meta.txid,
        .size = db->meta.high_water * db->page_size,
        .in_use = (db->meta.high_water - db->free_pages) * db->page_size,
        .file_size = db->file_size,
        .free_pages = db->free_pages,
        .pending_pages = db->pending_pages,
        .open_readers = db->open_readers,
        .oldest_reader = oldest != NULL ? oldest->meta.txid : db->meta.txid,
    };
    pthread_mutex_unlock(&db->mutex);
}

void bolt_forget_pages(struct bolt *db)
{
    pthread_mutex_lock(&db->mutex);
    fs_file_forget(db->file, db->map->data, db->map->length);
    pthread_mutex_unlock(&db->mutex);
}
