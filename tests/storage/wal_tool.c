/* Looks into real logs and writes them anew, for etcd_wal.py.
 *
 *     wal_tool dump WAL SNAP      what a start would find, as lines of "word key=value ..."
 *     wal_tool encode WAL         decodes every record down to its fields and encodes it again: all bytes
 *                                 must agree
 *     wal_tool recover WAL SNAP   opens for appending behind the newest snapshot, repairs if it must, closes
 *     wal_tool rewrite WAL NEW    the same records in a log of our own
 */
#include "base/buf.h"
#include "base/memory.h"
#include "base/text.h"
#include "raft/codec.h"
#include "storage/snap.h"
#include "storage/wal.h"
#include "storage/wal_files.h"
#include "storage/wal_record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static struct wal_options options(void)
{
    return (struct wal_options){.fs = fs_real(), .logger = &log_discard};
}

static void must(struct error *error)
{
    if (error == NULL) return;
    fprintf(stderr, "wal_tool: %s\n", error->text);
    exit(1);
}

static const char *hex(struct bytes bytes)
{
    static struct buf text;
    buf_clear(&text);
    text_hex(&text, bytes);
    return buf_string(&text);
}

/* The snapshot that a start would use; index 0 when there is none. */
static void newest_snapshot(const char *wal, const char *snap, struct raft_snapshot *snapshot, bool print)
{
    struct wal_options wal_options = options();
    struct snap_options snap_options = {.fs = fs_real(), .logger = &log_discard};
    struct wal_snapshots valid = {0};
    bool found = false;
    must(wal_valid_snapshots(&wal_options, wal, 0, &valid));
    for (size_t i = 0; i < valid.count && print; i++)
        printf("record index=%" PRIu64 " term=%" PRIu64 " voters=%zu\n", valid.items[i].index,
               valid.items[i].term, valid.items[i].conf_state.voters.count);
    must(snap_load_newest(&snap_options, snap, &valid, snapshot, &found));
    wal_snapshots_deinit(&valid);
}

static void dump(const char *wal, const char *snap)
{
    struct wal_options wal_options = options();
    struct raft_snapshot snapshot = {0};
    struct wal_content content = {0};
    newest_snapshot(wal, snap, &snapshot, true);
    printf("snapshot index=%" PRIu64 " term=%" PRIu64 " voters=%zu size=%zu\n", snapshot.index, snapshot.term,
           snapshot.conf_state.voters.count, blob_bytes(snapshot.data).size);
    must(wal_read(&wal_options, wal, snapshot.index, snapshot.term, &content));
    printf("metadata hex=%s\n", hex(buf_bytes(&content.metadata)));
    printf("state term=%" PRIu64 " vote=%" PRIu64 " commit=%" PRIu64 " torn=%d\n", content.hard_state.term,
           content.hard_state.vote, content.hard_state.commit, content.torn);
    for (size_t i = 0; i < content.entries.count; i++) {
        const struct raft_entry *entry = &content.entries.items[i];
        struct bytes data = blob_bytes(entry->data);
        if (data.size > 200) data.size = 200;
        printf("entry index=%" PRIu64 " term=%" PRIu64 " type=%d hex=%s\n", entry->index, entry->term,
               (int)entry->type, hex(data));
    }
    raft_snapshot_deinit(&snapshot);
    wal_content_deinit(&content);
}

static void recover(const char *directory, const char *snap)
{
    struct wal_options wal_options = options();
    struct raft_snapshot snapshot = {0};
    struct wal_content content = {0};
    struct wal *wal = NULL;
    newest_snapshot(directory, snap, &snapshot, false);
    must(wal_recover(&wal_options, directory, snapshot.index, snapshot.term, &wal, &content));
    printf("recovered entries=%zu\n", content.entries.count);
    must(wal_close(wal));
    raft_snapshot_deinit(&snapshot);
    wal_content_deinit(&content);
}

/* --- record by record --- */

struct walk {
    struct wal_segments segments;
    struct wal_source *sources;
    struct wal_decoder decoder;
};

static void walk_begin(struct walk *walk, const char *directory)
{
    *walk = (struct walk){0};
    must(wal_segments_list(fs_real(), &log_discard, directory, &walk->segments));
    must(wal_segments_open(fs_real(), &walk->segments, false));
    walk->sources = mem_zalloc(walk->segments.count, sizeof(*walk->sources));
    for (size_t i = 0; i < walk->segments.count; i++) {
        walk->sources[i] =
            (struct wal_source){.file = walk->segments.items[i].file, .path = walk->segments.items[i].path};
        must(fs_file_size(walk->sources[i].file, &walk->sources[i].size));
    }
    walk->decoder = (struct wal_decoder){.sources = walk->sources, .count = walk->segments.count};
}

static bool walk_next(struct walk *walk, struct wal_record *record)
{
    bool end = false;
    must(wal_decoder_next(&walk->decoder, record, &end));
    return !end;
}

static void walk_end(struct walk *walk)
{
    wal_decoder_deinit(&walk->decoder);
    wal_segments_deinit(&walk->segments);
    free(walk->sources);
}

/* The data of a record from its decoded form. */
static void encode_again(const struct wal_record *record, struct buf *data)
{
    if (record->type == WAL_ENTRY) {
        struct raft_entry entry = {0};
        must(raft_decode_entry(&entry, record->data));
        raft_encode_entry(data, &entry);
        blob_unref(entry.data);
    } else if (record->type == WAL_STATE) {
        struct raft_hard_state state = {0};
        must(raft_decode_hard_state(&state, record->data));
        raft_encode_hard_state(data, state);
    } else {
        buf_append_bytes(data, record->data);
    }
}

static void check_bytes(const struct walk *walk, uint64_t offset, struct bytes frame)
{
    uint8_t *stored = mem_alloc(frame.size);
    size_t got = 0;
    const struct wal_source *source = &walk->sources[walk->decoder.current];
    must(fs_file_pread(source->file, stored, frame.size, offset, &got));
    if (got != frame.size || memcmp(stored, frame.data, frame.size) != 0) {
        fprintf(stderr, "wal_tool: other bytes in %s at %" PRIu64 "\n", source->path, offset);
        exit(1);
    }
    free(stored);
}

static void encode(const char *directory)
{
    struct walk walk;
    struct wal_record record;
    struct buf data = {0}, frame = {0};
    uint32_t chain = 0;
    size_t count = 0;
    walk_begin(&walk, directory);
    while (walk_next(&walk, &record)) {
        buf_clear(&data);
        buf_clear(&frame);
        encode_again(&record, &data);
        bool is_crc = record.type == WAL_CRC;
        if (is_crc) chain = record.crc;
        struct bytes bytes = record.data.data == NULL ? BYTES_EMPTY : buf_bytes(&data);
        wal_record_append(&frame, (enum wal_record_type)record.type, bytes, &chain);
        check_bytes(&walk, walk.decoder.offset - frame.size, buf_bytes(&frame));
        count++;
    }
    printf("encoded records=%zu segments=%zu\n", count, walk.segments.count);
    walk_end(&walk);
    buf_deinit(&data);
    buf_deinit(&frame);
}

static void rewrite_record(struct wal *wal, const struct wal_record *record, bool *must_sync)
{
    if (record->type == WAL_ENTRY) {
        struct raft_entry entry = {0};
        must(raft_decode_entry(&entry, record->data));
        must(wal_save(wal, NULL, &entry, 1, must_sync));
        blob_unref(entry.data);
    } else if (record->type == WAL_STATE) {
        struct raft_hard_state state = {0};
        must(raft_decode_hard_state(&state, record->data));
        must(wal_save(wal, &state, NULL, 0, must_sync));
    }
}

static void rewrite(const char *from, const char *to)
{
    struct wal_options wal_options = options();
    struct wal_content content = {0};
    struct wal_snapshots valid = {0};
    struct wal *wal = NULL;
    must(wal_read(&wal_options, from, 0, 0, &content));
    must(wal_valid_snapshots(&wal_options, from, 0, &valid));
    must(wal_begin(&wal_options, to, buf_bytes(&content.metadata), &wal));
    struct walk walk;
    struct wal_record record;
    bool must_sync = false;
    walk_begin(&walk, from);
    while (walk_next(&walk, &record)) rewrite_record(wal, &record, &must_sync);
    for (size_t i = 0; i < valid.count; i++)
        if (valid.items[i].index > 0)
            must(wal_save_snapshot(wal, valid.items[i].index, valid.items[i].term,
                                   &valid.items[i].conf_state));
    printf("rewritten segments=%" PRIu64 "\n", wal_sequence(wal) + 1);
    must(wal_publish(wal));
    must(wal_close(wal));
    walk_end(&walk);
    wal_content_deinit(&content);
    wal_snapshots_deinit(&valid);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int arguments;
    } commands[] = {{"dump", 2}, {"encode", 1}, {"recover", 2}, {"rewrite", 2}};
    size_t chosen = 0;
    while (chosen < 4 && (argc < 2 || strcmp(argv[1], commands[chosen].name) != 0)) chosen++;
    if (chosen == 4 || argc != commands[chosen].arguments + 2) {
        fprintf(stderr, "usage: wal_tool dump WAL SNAP | encode WAL | recover WAL SNAP | rewrite WAL NEW\n");
        return 2;
    }
    switch (chosen) {
    case 0:
        dump(argv[2], argv[3]);
        break;
    case 1:
        encode(argv[2]);
        break;
    case 2:
        recover(argv[2], argv[3]);
        break;
    default:
        rewrite(argv[2], argv[3]);
        break;
    }
    return 0;
}
