/* model: what a cluster's state must be, by the simplest means: the committed entries replayed one by one.
 *
 * It knows every change ever made and what became of every entry, so that any answer a member gives, at any
 * revision, can be compared. It shares no code with mvcc, lease or node: only the encoding of requests.
 *
 * Ranges are in the order of keys, without filters. Memory grows with the length of the run.
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "api/errors.h"
#include "base/buf.h"
#include "raft/raft.h"

#include "rpc.pb-c.h"

/* One event of history, in the order of revisions. */
struct sim_change {
    int64_t revision;
    size_t key; /* number of the key, see sim_model_key */
    bool deleted;
    int64_t create_revision; /* 0 when deleted, as version and lease */
    int64_t version;
    int64_t lease;
    struct bytes value;
    size_t previous; /* position of the key's change before this one + 1; 0: none */
};

/* What became of a committed entry. */
struct sim_entry {
    uint64_t term;
    uint32_t crc;     /* of its data */
    uint64_t id;      /* of the proposal; 0: none */
    int64_t revision; /* of the store afterwards */
    enum api_error status;
    int64_t compacted;   /* Compaction that was done: its revision */
    int64_t revoked;     /* LeaseRevoke that was done: the lease's id */
    struct bytes answer; /* what its client is to be told, see sim/answer.h; empty for other kinds */
};

struct sim_model;

struct sim_model *sim_model_new(void) __attribute__((returns_nonnull, warn_unused_result));
void sim_model_free(struct sim_model *model); /* NULL is allowed */

/* The entry behind the last one. NULL, or what is impossible about it (a static text). */
const char *sim_model_apply(struct sim_model *model, const struct raft_entry *entry);

uint64_t sim_model_last_index(const struct sim_model *model);
/* 1 <= index <= sim_model_last_index. */
const struct sim_entry *sim_model_entry(const struct sim_model *model, uint64_t index);
/* The index of the entry with this proposal id; 0: it is not committed. */
uint64_t sim_model_find(const struct sim_model *model, uint64_t id);

int64_t sim_model_revision(const struct sim_model *model);
int64_t sim_model_compact_revision(const struct sim_model *model);

size_t sim_model_change_count(const struct sim_model *model);
const struct sim_change *sim_model_change(const struct sim_model *model, size_t position);
/* The position of the first change at this revision or later. */
size_t sim_model_position(const struct sim_model *model, int64_t revision);

size_t sim_model_key_count(const struct sim_model *model);
struct bytes sim_model_key(const struct sim_model *model, size_t key);
/* The present state of the key with this name; NULL: it is not there. */
const struct sim_change *sim_model_find_key(const struct sim_model *model, struct bytes name);
/* The key's state at that revision; NULL: it was not there. */
const struct sim_change *sim_model_get(const struct sim_model *model, size_t key, int64_t revision);

/* What a range at this revision comes to now; 0: the present one. */
enum api_error sim_model_check_range(const struct sim_model *model, int64_t revision);
/* Appends the answer (sim/answer.h) to a range; without a revision of its own it is at `current`. `header`:
 * the revision that the answer's header names, 0: not part of it. */
void sim_model_range(const struct sim_model *model, const Etcdserverpb__RangeRequest *request,
                     int64_t current, int64_t header, struct buf *out);

size_t sim_model_lease_count(const struct sim_model *model); /* that are there now */
bool sim_model_has_lease(const struct sim_model *model, int64_t id);

/* Whether a request for [key, range_end) means this key: range_end empty: that one; one zero byte: no end. */
bool sim_key_in_range(struct bytes candidate, struct bytes key, struct bytes range_end);

#endif
