#include "flips.h"

#include "base/buf.h"
#include "base/memory.h"
#include "base/wire.h"
#include "bolt/db.h"
#include "cluster/corruption.h"
#include "mvcc/store.h"
#include "storage/wal_record.h"
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char log_folder[] = "/member/member/wal";
static const char snap_folder[] = "/member/member/snap";
static const char database[] = "/member/member/snap/db";

enum { PAGE = BOLT_DEFAULT_PAGE_SIZE, PATH_SIZE = 256, SEGMENT_MAX = 64 << 20 };

struct flip {
    enum flip_place place;
    char path[PATH_SIZE];
    uint64_t offset;
    unsigned bit;
    uint8_t turned; /* the byte with it */
};

static struct fs_sim *disk_of(struct world *world, size_t member)
{
    return sim_member_disk(sim_cluster_member(world->cluster, member));
}

/* ---- files ---- */

/* What is there of the bytes; the rest is zeros. */
static void read_bytes(struct fs_sim *disk, const char *path, uint64_t offset, uint8_t *bytes, size_t size)
{
    struct fs_file *file;
    size_t read;
    memset(bytes, 0, size);
    struct error *error = fs_open(fs_sim_fs(disk), path, FS_READ, &file);
    if (error == NULL) {
        error = fs_file_pread(file, bytes, size, offset, &read);
        error_free(fs_file_close(file));
    }
    error_free(error);
}

static uint8_t byte_at(struct fs_sim *disk, const char *path, uint64_t offset)
{
    uint8_t byte;
    read_bytes(disk, path, offset, &byte, 1);
    return byte;
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t size = strlen(name), suffix_size = strlen(suffix);
    return size >= suffix_size && strcmp(name + size - suffix_size, suffix) == 0;
}

/* One of the folder's files with that ending. False: there is none. */
static bool choose_file(struct fs_sim *disk, const char *folder, const char *suffix, struct rng *rng,
                        char path[PATH_SIZE])
{
    char **names;
    size_t count, seen = 0;
    error_free(fs_list(fs_sim_fs(disk), folder, &names, &count));
    for (size_t i = 0; i < count; i++)
        if (ends_with(names[i], suffix) && rng_chance(rng, 1, ++seen))
            snprintf(path, PATH_SIZE, "%s/%s", folder, names[i]);
    fs_names_free(names, count);
    return seen > 0;
}

/* ---- the log ---- */

/* Some record of the segment: where its frame is, and its size. False: there is none of at least that size.
 */
static bool choose_record(struct rng *rng, struct bytes content, uint64_t least, uint64_t *frame,
                          uint64_t *size)
{
    uint64_t seen = 0;
    for (uint64_t at = 0; at + WAL_FRAME_HEADER <= content.size;) {
        uint64_t head = le64_get(content.data + at), body = head & 0xffffffffffffff;
        uint64_t padding = head >> 56 == 0 ? 0 : head >> 56 & 7;
        if (body == 0 || body + padding > content.size - at - WAL_FRAME_HEADER) break;
        if (body >= least && rng_chance(rng, 1, ++seen)) {
            *frame = at;
            *size = body;
        }
        at += WAL_FRAME_HEADER + body + padding;
    }
    return seen > 0;
}

/* The only damage that nobody can tell from a torn write (wal_record.h): a size of one bit becomes zero, and
 * there is nothing else in its sector behind it. */
static bool looks_torn(struct bytes content, uint64_t frame, const struct flip *flip)
{
    uint64_t in_word = flip->offset - frame;
    if (in_word >= WAL_FRAME_HEADER || frame % WAL_SECTOR != WAL_SECTOR - WAL_FRAME_HEADER) return false;
    return le64_get(content.data + frame) == UINT64_C(1) << (in_word * 8 + flip->bit);
}

/* In the data of an entry, which are the last of its record. */
static bool choose_data(struct rng *rng, struct bytes content, struct flip *flip)
{
    enum { ENTRY_MIN = 24, IN_DATA = 4 };
    uint64_t frame = 0, size = 0;
    bool found = choose_record(rng, content, ENTRY_MIN, &frame, &size);
    if (found) flip->offset = frame + WAL_FRAME_HEADER + size - 1 - rng_below(rng, IN_DATA);
    return found;
}

static bool choose_anywhere(struct rng *rng, struct bytes content, struct flip *flip)
{
    enum { HEAD = 8 /* type and checksum */, TYPE = 1 /* its place among them */, TYPE_BITS = 3 };
    uint64_t frame = 0, size = 0;
    if (!choose_record(rng, content, 1, &frame, &size)) return false;
    switch (rng_below(rng, 5)) {
    case 0:
        flip->offset = frame + rng_below(rng, WAL_FRAME_HEADER);
        break;
    case 1:
        flip->offset = frame + WAL_FRAME_HEADER + rng_below(rng, HEAD);
        break;
    case 2:
        flip->offset = frame + WAL_FRAME_HEADER + rng_below(rng, size);
        break;
    case 3: /* makes another type of it that there is */
        flip->offset = frame + WAL_FRAME_HEADER + TYPE;
        flip->bit = (unsigned)rng_below(rng, TYPE_BITS);
        break;
    default:
        flip->offset = rng_below(rng, content.size);
        frame = flip->offset / WAL_FRAME_HEADER * WAL_FRAME_HEADER;
        break;
    }
    return !looks_torn(content, frame, flip);
}

static bool choose_in_log(struct fs_sim *disk, struct rng *rng, bool anywhere, struct flip *flip)
{
    struct buf content = {0};
    bool found = choose_file(disk, log_folder, ".wal", rng, flip->path);
    if (found) error_free(fs_read_file(fs_sim_fs(disk), flip->path, SEGMENT_MAX, &content));
    flip->bit = (unsigned)rng_below(rng, 8);
    found = found && (anywhere ? choose_anywhere : choose_data)(rng, buf_bytes(&content), flip);
    buf_deinit(&content);
    return found;
}

/* ---- databases ---- */

static bool read_meta(struct fs_sim *disk, const char *path, uint64_t page, struct meta *meta)
{
    uint8_t bytes[META_PAGE_BYTES];
    read_bytes(disk, path, page * PAGE, bytes, sizeof(bytes));
    return meta_decode(bytes, meta) == NULL;
}

/* Pages in use, of which one is chosen, and one of the branches. */
struct pages {
    const struct bolt_tx *tx;
    struct rng *rng;
    uint64_t seen, chosen, branches, branch;
};

static struct error *visit_page(struct pages *pages, uint64_t id)
{
    struct page page;
    TRY(bolt_tx_page(pages->tx, id, &page));
    if (rng_chance(pages->rng, 1, ++pages->seen)) pages->chosen = id;
    if (!page.leaf && rng_chance(pages->rng, 1, ++pages->branches)) pages->branch = id;
    for (uint32_t i = 0; i < page.count; i++) {
        struct element element = {0};
        struct bucket_header header = {0};
        if (!page_locate(&page, i, &element)) return page_element_error(&page, i);
        if (page.leaf && element.is_bucket) TRY(bucket_header_decode(element.value, element.key, &header));
        uint64_t below = page.leaf ? header.root : element.child;
        if (below != 0) TRY(visit_page(pages, below));
    }
    return NULL;
}

/* A branch, if there is one and it is to be. 0: the file is damaged already. */
static uint64_t choose_page(struct fs_sim *disk, const char *path, bool branch, struct rng *rng)
{
    struct bolt *bolt;
    struct bolt_tx *tx;
    struct pages pages = {.rng = rng};
    struct error *error =
        bolt_open(fs_sim_fs(disk), path, &(const struct bolt_options){.read_only = true}, &bolt);
    if (error == NULL) {
        error = bolt_begin_read(bolt, &tx);
        if (error == NULL) {
            pages.tx = tx;
            error = visit_page(&pages, tx->meta.root);
            bolt_end_read(tx);
        }
        error_free(bolt_close(bolt));
    }
    error_free(error);
    return branch && pages.branch != 0 ? pages.branch : pages.chosen;
}

/* Mostly where a little change means much. Not in a file without checksum: nobody could tell. */
static bool choose_in_database(struct fs_sim *disk, struct rng *rng, struct flip *flip)
{
    enum { HEAD = 128 /* header and first elements */ };
    uint64_t pages = 0;
    for (uint64_t i = 0; i < 2; i++) {
        struct meta meta;
        uint32_t sum;
        if (!read_meta(disk, flip->path, i, &meta) || !meta_rows_checksum(&meta, &sum)) return false;
        if (meta.high_water > pages) pages = meta.high_water;
    }
    flip->bit = (unsigned)rng_below(rng, 8);
    uint64_t what = rng_below(rng, 8);
    if (what == 0)
        flip->offset = rng_below(rng, 2) * PAGE + rng_below(rng, META_PAGE_BYTES);
    else if (what == 1)
        flip->offset = rng_below(rng, pages) * PAGE + rng_below(rng, PAGE);
    else
        flip->offset =
            choose_page(disk, flip->path, what == 2, rng) * PAGE + rng_below(rng, what < 5 ? HEAD : PAGE);
    return true;
}

/* ---- a database as etcd leaves it ---- */

/* Takes the checksum of the rows away. */
static void forget_checksum(struct fs_sim *disk)
{
    struct fs_file *file;
    struct error *error = fs_open(fs_sim_fs(disk), database, FS_WRITE, &file);
    for (uint64_t i = 0; error == NULL && i < 2; i++) {
        struct meta meta;
        uint8_t page[META_PAGE_BYTES];
        if (!read_meta(disk, database, i, &meta)) continue;
        meta.sequence = 0;
        meta_encode(page, i, &meta);
        error = fs_file_pwrite(file, page, sizeof(page), i * PAGE);
    }
    if (error == NULL) error = fs_file_sync(file);
    if (error == NULL) error = fs_file_close(file);
    error_free(error);
}

/* A row's key begins with its revision, eight bytes in the order of bytes, and so does the value of this row
 * of bucket meta. Empty: nothing was compacted. */
static struct error *read_compact_revision(struct bolt_tx *tx, struct bytes *revision)
{
    struct bolt_bucket bucket;
    bool found;
    *revision = BYTES_EMPTY;
    TRY(bolt_bucket(tx, BYTES_LITERAL("meta"), &bucket, &found));
    if (found) TRY(bolt_get(&bucket, BYTES_LITERAL("scheduledCompactRev"), revision, &found));
    return NULL;
}

/* In the value of some row of the key space. HashKV leaves out rows at or before the compact revision that
 * were overtaken since, although reads between the two revisions see them. */
static struct error *choose_row(struct bolt_tx *tx, struct rng *rng, struct flip *flip, bool *found)
{
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    struct bytes compacted;
    uint64_t seen = 0;
    TRY(read_compact_revision(tx, &compacted));
    TRY(bolt_bucket(tx, BYTES_LITERAL("key"), &bucket, found));
    if (!*found) return NULL;
    bolt_cursor_init(&cursor, &bucket);
    TRY(bolt_cursor_first(&cursor));
    while (cursor.valid) {
        bool counts = compacted.size < 8 || memcmp(cursor.key.data, compacted.data, 8) > 0;
        if (counts && rng_chance(rng, 1, ++seen))
            flip->offset = (uint64_t)(cursor.value.data - tx->map->data) + rng_below(rng, cursor.value.size);
        TRY(bolt_cursor_next(&cursor));
    }
    *found = seen > 0;
    return NULL;
}

static bool choose_row_of_etcd(struct fs_sim *disk, struct rng *rng, struct flip *flip)
{
    struct bolt *bolt;
    struct bolt_tx *tx;
    bool found = false;
    flip->bit = (unsigned)rng_below(rng, 8);
    struct error *error =
        bolt_open(fs_sim_fs(disk), database, &(const struct bolt_options){.read_only = true}, &bolt);
    if (error == NULL) {
        error = bolt_begin_read(bolt, &tx);
        if (error == NULL) error = choose_row(tx, rng, flip, &found);
        bolt_end_read(tx);
        error_free(bolt_close(bolt));
    }
    if (found) forget_checksum(disk);
    found = found && error == NULL;
    error_free(error);
    return found;
}

/* ---- the comparison ---- */

static enum corruption_reply ask_hash(struct world *world, size_t member, int64_t revision,
                                      struct corruption_hash *answer)
{
    enum { ROWS = 1000 };
    struct mvcc_hash_job *job;
    struct mvcc_hash hash;
    struct mvcc_store *store = node_store(sim_member_node(sim_cluster_member(world->cluster, member)));
    switch (mvcc_hash_begin(store, revision, &job)) {
    case MVCC_OK:
        break;
    case MVCC_COMPACTED:
        return CORRUPTION_HAS_COMPACTED;
    default:
        return CORRUPTION_IS_BEHIND;
    }
    struct error *error = NULL;
    for (bool done = false; error == NULL && !done;) error = mvcc_hash_step(job, ROWS, &done);
    mvcc_hash_finish(job, error == NULL ? &hash : NULL);
    if (error != NULL) {
        error_free(error);
        return CORRUPTION_SILENT;
    }
    *answer =
        (struct corruption_hash){hash.hash, hash.revision, hash.compact_revision, hash.current_revision};
    return CORRUPTION_ANSWERED;
}

static bool can_ask(const struct world *world, size_t member, size_t other)
{
    const struct sim_network *network = sim_cluster_network(world->cluster);
    return other != member && sim_cluster_is_up(world->cluster, other) &&
           !sim_cluster_is_paused(world->cluster, other) && !operator_has_removed(world, other) &&
           !sim_network_link((struct sim_network *)(uintptr_t)network, member, other)->cut &&
           !sim_network_link((struct sim_network *)(uintptr_t)network, other, member)->cut;
}

/* As a server does with its initial check, before it serves anybody. */
static enum corruption_finding compare(struct world *world, size_t member)
{
    struct corruption_hash own;
    enum corruption_finding found = CORRUPTION_NOT_COMPARED;
    if (ask_hash(world, member, 0, &own) != CORRUPTION_ANSWERED) return CORRUPTION_NOT_COMPARED;
    for (size_t i = 0; i < sim_cluster_members(world->cluster); i++) {
        struct corruption_answer answer = {.member_id = i};
        if (!can_ask(world, member, i)) continue;
        answer.reply = ask_hash(world, i, own.revision, &answer.hash);
        enum corruption_finding finding = corruption_compare(&own, &answer);
        if (finding == CORRUPTION_HASH_DIFFERS) return finding;
        if (finding == CORRUPTION_NONE) found = finding;
    }
    return found;
}

/* ---- starting ---- */

/* Not of a member alone: there is nobody to compare with. */
static bool choose(struct world *world, size_t member, bool anywhere, struct rng *rng, struct flip *flip)
{
    struct fs_sim *disk = disk_of(world, member);
    uint64_t what = anywhere ? rng_below(rng, 10) : 0;
    *flip = (struct flip){.place = FLIP_LOG};
    if (what < 3) return choose_in_log(disk, rng, anywhere, flip);
    if (choose_file(disk, snap_folder, ".snap.db", rng, flip->path)) {
        flip->place = FLIP_IMAGE;
        return choose_in_database(disk, rng, flip);
    }
    snprintf(flip->path, PATH_SIZE, "%s", database);
    if (what == 3 && world->operator.founders> 2) {
        flip->place = FLIP_ROW_OF_ETCD;
        return choose_row_of_etcd(disk, rng, flip);
    }
    flip->place = FLIP_DATABASE;
    if (what > 7 && choose_file(disk, snap_folder, ".snap", rng, flip->path)) flip->place = FLIP_SNAPSHOT;
    if (flip->place != FLIP_SNAPSHOT) return choose_in_database(disk, rng, flip);
    struct buf content = {0};
    error_free(fs_read_file(fs_sim_fs(disk), flip->path, SEGMENT_MAX, &content));
    flip->bit = (unsigned)rng_below(rng, 8);
    bool found = content.size > 0;
    if (found) flip->offset = rng_below(rng, content.size);
    buf_deinit(&content);
    return found;
}

static void turn_back(struct fs_sim *disk, const struct flip *flip)
{
    char broken[PATH_SIZE + 16];
    bool is_broken = false;
    snprintf(broken, sizeof(broken), "%s.broken", flip->path);
    if (flip->place == FLIP_SNAPSHOT) error_free(fs_exists(fs_sim_fs(disk), broken, &is_broken));
    if (is_broken) {
        error_free(fs_rename(fs_sim_fs(disk), broken, flip->path));
        error_free(fs_sync_directory(fs_sim_fs(disk), snap_folder));
    }
    /* A torn tail may have been cut off with the bit in it. */
    if (byte_at(disk, flip->path, flip->offset) == flip->turned)
        fs_sim_flip_bit(disk, flip->path, flip->offset, flip->bit);
}

/* Of a log it is enough to name the folder: what is missing at its end is nowhere. */
static void check_refusal(struct world *world, size_t member, const struct flip *flip,
                          const struct error *error)
{
    const char *named = flip->place == FLIP_LOG ? log_folder : flip->path;
    if (strstr(error->text, named) == NULL)
        world_give_up(world, "m%zu refuses to start with a damaged %s and does not name it: %s", member,
                      flip->path, error->text);
}

static void compare_or_kill(struct world *world, size_t member, struct flip_counts *counts)
{
    enum corruption_finding finding = compare(world, member);
    if (finding == CORRUPTION_NONE) return;
    world_tell(world, "m%zu %s", member,
               finding == CORRUPTION_HASH_DIFFERS ? "has other data than its peers: it must not serve"
                                                  : "cannot compare its data: it is not left to serve");
    if (finding == CORRUPTION_HASH_DIFFERS)
        counts->compared_different++;
    else
        counts->not_compared++;
    sim_cluster_kill(world->cluster, member);
}

/* Unread bits of the database stay: nothing may ever depend on them. Those of other files turn back, because
 * what is not read today may be needed when another file is damaged. */
void flips_start(struct world *world, size_t member, uint64_t seed, bool anywhere)
{
    struct flip_counts *counts = &world->faults.counts.flips;
    struct fs_sim *disk = disk_of(world, member);
    struct flip flip;
    struct rng rng;
    rng_init(&rng, seed);
    if (!choose(world, member, anywhere, &rng, &flip)) return;
    flip.turned = (uint8_t)(byte_at(disk, flip.path, flip.offset) ^ 1U << flip.bit);
    /* In data zeros are what a torn write leaves. */
    if ((flip.turned == 0 && !anywhere) || !fs_sim_flip_bit(disk, flip.path, flip.offset, flip.bit)) return;
    world_tell(world, "m%zu starts with bit %u of byte %llu in %s turned%s", member, flip.bit,
               (unsigned long long)flip.offset, flip.path,
               flip.place == FLIP_ROW_OF_ETCD ? ", a row that etcd wrote" : "");
    struct error *error = sim_cluster_start(world->cluster, member);
    if (error != NULL) {
        counts->refused[flip.place]++;
        check_refusal(world, member, &flip, error);
    } else {
        if (flip.place == FLIP_ROW_OF_ETCD) compare_or_kill(world, member, counts);
        counts->unread[flip.place] += sim_cluster_is_up(world->cluster, member);
    }
    world_tell(world, "that is %s", error == NULL ? "not read" : error->text);
    error_free(error);
    if (anywhere && !sim_cluster_is_up(world->cluster, member) && rng_chance(&rng, 1, 4))
        operator_replace(world, member);
    bool in_database =
        flip.place == FLIP_DATABASE || flip.place == FLIP_ROW_OF_ETCD || flip.place == FLIP_IMAGE;
    if (!sim_cluster_is_up(world->cluster, member) || !in_database) turn_back(disk, &flip);
}

void flips_print(const struct flip_counts *counts)
{
    static const char *const names[FLIP_PLACES] = {
        [FLIP_LOG] = "log",
        [FLIP_DATABASE] = "database",
        [FLIP_SNAPSHOT] = "snapshot",
        [FLIP_IMAGE] = "received database",
        [FLIP_ROW_OF_ETCD] = "row that etcd wrote",
    };
    for (int i = 0; i < FLIP_PLACES; i++)
        if (counts->refused[i] + counts->unread[i] > 0)
            printf("flipped bits, %s: %llu refused by the start, %llu that nothing depends on\n", names[i],
                   (unsigned long long)counts->refused[i], (unsigned long long)counts->unread[i]);
    if (counts->compared_different + counts->not_compared > 0)
        printf("flipped bits, rows that etcd wrote: %llu refused by the comparison, %llu could not be "
               "compared\n",
               (unsigned long long)counts->compared_different, (unsigned long long)counts->not_compared);
}
