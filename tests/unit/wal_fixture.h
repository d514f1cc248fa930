/* wal_fixture: a simulated disk and a log on it, for the tests of the write-ahead log. */
#ifndef TESTS_WAL_FIXTURE_H
#define TESTS_WAL_FIXTURE_H

#include "base/memory.h"
#include "storage/fs_sim.h"
#include "storage/wal.h"
#include "tests/unit/expect.h"

#include <stdlib.h>

static const char directory[] = "/data/member/wal";
static const char first_segment[] = "/data/member/wal/0000000000000000-0000000000000000.wal";

enum { SMALL_SEGMENT = 4096 }; /* bytes; a few records fill it */

/* Where `directory` can be made durably. */
static inline struct fs_sim *new_disk(uint64_t seed)
{
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = seed, .file_size = 128 << 20});
    must(fs_make_directory(fs_sim_fs(sim), "/data/member"));
    must(fs_sync_directory(fs_sim_fs(sim), "/"));
    must(fs_sync_directory(fs_sim_fs(sim), "/data"));
    return sim;
}

static inline struct wal_options options_of(struct fs_sim *sim, uint64_t segment_size)
{
    return (struct wal_options){.fs = fs_sim_fs(sim), .logger = &log_discard, .segment_size = segment_size};
}

static inline struct raft_entry entry_of(uint64_t term, uint64_t index, struct bytes data)
{
    return (struct raft_entry){.term = term, .index = index, .data = blob_from(data)};
}

/* One entry and the hard state, not synced yet. */
static inline void save(struct wal *wal, struct raft_hard_state state, uint64_t term, uint64_t index,
                        struct bytes data)
{
    struct raft_entry entry = entry_of(term, index, data);
    bool must_sync = false;
    must(wal_save(wal, &state, &entry, 1, &must_sync));
    assert_true(must_sync);
    blob_unref(entry.data);
}

/* With one voter. */
static inline const struct raft_conf_state *conf_of(uint64_t *id)
{
    static struct raft_conf_state conf_state;
    conf_state.voters = (struct raft_ids){.items = id, .count = 1, .capacity = 1};
    return &conf_state;
}

/* A segment with these bytes, whatever they are. The log's folder must be there. */
static inline void put_segment(struct fs *fs, const char *name, struct bytes content)
{
    char *path = mem_printf("%s/%s", directory, name);
    struct fs_file *file = NULL;
    must(fs_open(fs, path, FS_WRITE | FS_CREATE, &file));
    must(fs_file_pwrite(file, content.data, content.size, 0));
    must(fs_file_close(file));
    free(path);
}

#endif
