#include "raft/log.h"

#include "raft/note.h"

#include <assert.h>

void raft_log_init(struct raft_log *log, struct raft_storage *storage, uint64_t max_applying_size,
                   const struct logger *logger)
{
    *log = (struct raft_log){.storage = storage, .max_applying_size = max_applying_size, .logger = logger};
    uint64_t first = storage->vtable->first_index(storage);
    uint64_t last = storage->vtable->last_index(storage);
    assert(first > 0 && last + 1 >= first);
    raft_unstable_init(&log->unstable, last + 1, logger);
    log->committed = log->applying = log->applied = first - 1;
}

void raft_log_deinit(struct raft_log *log)
{
    raft_unstable_deinit(&log->unstable);
}

uint64_t raft_log_first_index(const struct raft_log *log)
{
    uint64_t first;
    if (raft_unstable_first_index(&log->unstable, &first)) return first;
    return log->storage->vtable->first_index(log->storage);
}

uint64_t raft_log_last_index(const struct raft_log *log)
{
    uint64_t last;
    if (raft_unstable_last_index(&log->unstable, &last)) return last;
    return log->storage->vtable->last_index(log->storage);
}

uint64_t raft_log_last_term(const struct raft_log *log)
{
    uint64_t term = 0;
    enum raft_result result = raft_log_term(log, raft_log_last_index(log), &term);
    assert(result == RAFT_OK);
    return term;
}

enum raft_result raft_log_term(const struct raft_log *log, uint64_t index, uint64_t *term)
{
    if (raft_unstable_term(&log->unstable, index, term)) return RAFT_OK;
    /* The term just before the first entry stays known: it is that of the snapshot or of the compaction
     * point. */
    if (index + 1 < raft_log_first_index(log)) return RAFT_COMPACTED;
    if (index > raft_log_last_index(log)) return RAFT_UNAVAILABLE;
    return log->storage->vtable->term(log->storage, index, term);
}

uint64_t raft_log_term_or_zero(const struct raft_log *log, uint64_t index)
{
    uint64_t term;
    return raft_log_term(log, index, &term) == RAFT_OK ? term : 0;
}

bool raft_log_matches(const struct raft_log *log, uint64_t index, uint64_t term)
{
    uint64_t present;
    return raft_log_term(log, index, &present) == RAFT_OK && present == term;
}

bool raft_log_is_up_to_date(const struct raft_log *log, uint64_t term, uint64_t index)
{
    uint64_t last_term = raft_log_last_term(log);
    return term > last_term || (term == last_term && index >= raft_log_last_index(log));
}

enum raft_result raft_log_slice(const struct raft_log *log, uint64_t low, uint64_t high, uint64_t max_size,
                                struct raft_entries *entries)
{
    assert(low <= high);
    if (low < raft_log_first_index(log)) return RAFT_COMPACTED;
    assert(high <= raft_log_last_index(log) + 1);
    if (low == high) return RAFT_OK;
    const struct raft_unstable *unstable = &log->unstable;
    if (low >= unstable->offset) {
        const struct raft_entry *items = raft_unstable_slice(unstable, low, high);
        raft_entries_append(entries, items, raft_entries_limit(items, high - low, max_size));
        return RAFT_OK;
    }

    uint64_t cut = high < unstable->offset ? high : unstable->offset;
    size_t before = entries->count;
    enum raft_result result = log->storage->vtable->entries(log->storage, low, cut, max_size, entries);
    size_t stored = entries->count - before;
    if (result != RAFT_OK || cut == high || stored < cut - low) return result;
    uint64_t size = raft_entries_encoded_size(entries->items + before, stored);
    if (size >= max_size) return RAFT_OK;
    const struct raft_entry *items = raft_unstable_slice(unstable, cut, high);
    size_t count = raft_entries_limit(items, high - cut, max_size - size);
    /* The one entry that raft_entries_limit always grants is granted already. */
    if (count == 1 && size + raft_entry_encoded_size(items) > max_size) return RAFT_OK;
    raft_entries_append(entries, items, count);
    return RAFT_OK;
}

enum raft_result raft_log_entries_from(const struct raft_log *log, uint64_t low, uint64_t max_size,
                                       struct raft_entries *entries)
{
    uint64_t last = raft_log_last_index(log);
    return low > last ? RAFT_OK : raft_log_slice(log, low, last + 1, max_size, entries);
}

enum raft_result raft_log_snapshot(const struct raft_log *log, struct raft_snapshot *snapshot)
{
    if (!log->unstable.has_snapshot) return log->storage->vtable->snapshot(log->storage, snapshot);
    raft_snapshot_copy(snapshot, &log->unstable.snapshot);
    return RAFT_OK;
}

void raft_log_append(struct raft_log *log, const struct raft_entry *items, size_t count)
{
    if (count == 0) return;
    assert(items[0].index > log->committed);
    raft_unstable_truncate_and_append(&log->unstable, items, count);
}

/* The position of the first entry that is not in the log with the same term; count when all are. */
static size_t find_conflict(const struct raft_log *log, const struct raft_entry *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (raft_log_matches(log, items[i].index, items[i].term)) continue;
        if (items[i].index <= raft_log_last_index(log)) {
            note_info(log->logger,
                      "found conflict at index " DEC " [existing term: " DEC ", conflicting term: " DEC "]",
                      items[i].index, raft_log_term_or_zero(log, items[i].index), items[i].term);
        }
        return i;
    }
    return count;
}

enum raft_append_result raft_log_maybe_append(struct raft_log *log, uint64_t index, uint64_t term,
                                              const struct raft_entry *items, size_t count, uint64_t commit,
                                              uint64_t *last_new)
{
    for (size_t i = 0; i < count; i++) {
        if (items[i].index != index + 1 + i) return RAFT_APPEND_CONFLICT;
    }
    /* "Reply false if log doesn't contain an entry at prevLogIndex whose term matches prevLogTerm" (Raft
     * paper, figure 2) */
    if (!raft_log_matches(log, index, term)) return RAFT_APPEND_MISMATCH;
    /* "If an existing entry conflicts with a new one, delete the existing entry and all that follow it": but
     * when all are there already, nothing is deleted, since the message may be an old one that arrives late.
     */
    size_t first_new = find_conflict(log, items, count);
    if (first_new < count) {
        if (items[first_new].index <= log->committed) return RAFT_APPEND_CONFLICT;
        raft_log_append(log, items + first_new, count - first_new);
    }
    *last_new = index + count;
    /* "set commitIndex = min(leaderCommit, index of last new entry)": what lies behind may be a former
     * leader's. */
    raft_log_commit_to(log, commit < *last_new ? commit : *last_new);
    return RAFT_APPEND_OK;
}

uint64_t raft_log_find_conflict_by_term(const struct raft_log *log, uint64_t index, uint64_t term,
                                        uint64_t *found_term)
{
    for (; index > 0; index--) {
        uint64_t present;
        if (raft_log_term(log, index, &present) != RAFT_OK) {
            *found_term = 0; /* compacted or beyond the end: a match is possible */
            return index;
        }
        if (present <= term) {
            *found_term = present;
            return index;
        }
    }
    *found_term = 0;
    return 0;
}

void raft_log_commit_to(struct raft_log *log, uint64_t index)
{
    if (index <= log->committed) return;
    assert(index <= raft_log_last_index(log));
    log->committed = index;
}

bool raft_log_maybe_commit(struct raft_log *log, uint64_t index, uint64_t term)
{
    if (index <= log->committed || !raft_log_matches(log, index, term)) return false;
    raft_log_commit_to(log, index);
    return true;
}

void raft_log_restore(struct raft_log *log, const struct raft_snapshot *snapshot)
{
    note_info(log->logger,
              "log [committed=" DEC ", applied=" DEC ", applying=" DEC ", unstable.offset=" DEC
              ", unstable.offsetInProgress=" DEC
              ", len(unstable.Entries)=%zu] starts to restore snapshot [index: " DEC ", term: " DEC "]",
              log->committed, log->applied, log->applying, log->unstable.offset,
              log->unstable.offset_in_progress, log->unstable.entries.count, snapshot->index, snapshot->term);
    assert(snapshot->index > log->committed);
    log->committed = snapshot->index;
    raft_unstable_restore(&log->unstable, snapshot);
}

static uint64_t max_appliable_index(const struct raft_log *log, bool allow_unstable)
{
    uint64_t stable = log->unstable.offset - 1;
    return allow_unstable || log->committed < stable ? log->committed : stable;
}

bool raft_log_has_next_committed(const struct raft_log *log, bool allow_unstable)
{
    /* A snapshot that is on its way to storage must be applied before the entries behind it. */
    if (log->applying_paused || log->unstable.has_snapshot) return false;
    return log->applying < max_appliable_index(log, allow_unstable);
}

void raft_log_next_committed(const struct raft_log *log, bool allow_unstable, struct raft_entries *entries)
{
    if (!raft_log_has_next_committed(log, allow_unstable)) return;
    assert(log->max_applying_size > log->applying_size); /* else paused */
    enum raft_result result =
        raft_log_slice(log, log->applying + 1, max_appliable_index(log, allow_unstable) + 1,
                       log->max_applying_size - log->applying_size, entries);
    assert(result == RAFT_OK);
}

void raft_log_accept_applying(struct raft_log *log, uint64_t index, uint64_t size, bool allow_unstable)
{
    assert(index > log->applying && index <= log->committed);
    log->applying = index;
    log->applying_size += size;
    /* When the list was cut at the limit, wait for the application rather than hand out another list by one
     * entry. */
    log->applying_paused =
        log->applying_size >= log->max_applying_size || index < max_appliable_index(log, allow_unstable);
}

void raft_log_applied_to(struct raft_log *log, uint64_t index, uint64_t size)
{
    assert(index >= log->applied && index <= log->committed);
    log->applied = index;
    if (log->applying < index) log->applying = index;
    log->applying_size -= size < log->applying_size ? size : log->applying_size;
    log->applying_paused = log->applying_size >= log->max_applying_size;
}
