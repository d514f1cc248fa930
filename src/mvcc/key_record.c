#include "mvcc/key_record.h"

#include "base/memory.h"

#include <stdlib.h>

struct history {
    uint32_t count;
    uint32_t capacity;
    /* Of moments[0], whose predecessors in its generation may have been compacted away. */
    int64_t created;
    int64_t version;
    struct key_moment moments[];
};

static struct history *record_history(const struct key_record *record)
{
    assert(key_record_kind(record) == KEY_RECORD_HISTORY);
    struct history *history;
    memcpy(&history, record->tail, sizeof(history));
    return history;
}

static struct key_record *allocate(enum key_record_kind kind, struct bytes key)
{
    assert(key.size <= MVCC_KEY_MAX);
    struct key_record *record = mem_alloc(sizeof(*record) + key_record_tail_size(kind) + key.size);
    record->head = (uint32_t)kind << KEY_RECORD_KIND_SHIFT | (uint32_t)key.size;
    if (key.size > 0) memcpy(record->tail + key_record_tail_size(kind), key.data, key.size);
    return record;
}

struct key_record *key_record_new(struct bytes key, struct key_moment moment, int64_t created,
                                  int64_t version)
{
    bool fresh = (moment.sub & KEY_TOMBSTONE) != 0 || (version == 1 && created == moment.main);
    struct key_record *record = allocate(fresh ? KEY_RECORD_FRESH : KEY_RECORD_AGED, key);
    record->main = moment.main;
    record->sub = moment.sub;
    if (!fresh) {
        memcpy(record->tail, &created, sizeof(created));
        memcpy(record->tail + sizeof(created), &version, sizeof(version));
    }
    return record;
}

void key_record_free(struct key_record *record)
{
    if (key_record_kind(record) == KEY_RECORD_HISTORY) free(record_history(record));
    free(record);
}

void key_record_past(const struct key_record *record, struct key_past *past)
{
    if (key_record_kind(record) == KEY_RECORD_HISTORY) {
        const struct history *history = record_history(record);
        *past = (struct key_past){
            history->moments, history->count, history->created, history->version, {0, 0, 0}};
        return;
    }
    past->single = (struct key_moment){record->main, record->sub, 0};
    past->moments = &past->single;
    past->count = 1;
    past->created = record->main;
    past->version = 1;
    if (key_record_kind(record) == KEY_RECORD_AGED) {
        memcpy(&past->created, record->tail, sizeof(past->created));
        memcpy(&past->version, record->tail + sizeof(past->created), sizeof(past->version));
    }
}

uint32_t key_past_until(const struct key_past *past, int64_t at)
{
    uint32_t low = 0, high = past->count;
    if (past->moments[high - 1].main <= at) return high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (past->moments[middle].main <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int64_t key_past_created(const struct key_past *past, uint32_t i)
{
    uint32_t start = past->moments[i].start;
    return start == 0 ? past->created : past->moments[start].main;
}

static int64_t key_past_version(const struct key_past *past, uint32_t i)
{
    uint32_t start = past->moments[i].start;
    return (int64_t)(i - start) + (start == 0 ? past->version : 1);
}

uint32_t key_past_kept(const struct key_past *past, int64_t at, uint32_t *first)
{
    uint32_t end = key_past_until(past, at);
    *first = end;
    if (end == 0) return end;
    const struct key_moment *newest = &past->moments[end - 1];
    if (key_moment_tombstone(newest) && newest->main < at) return end;
    *first = end - 1;
    /* A key deleted and put again in the transaction `at` itself: a watch from there wants both. */
    if (end >= 2 && !key_moment_tombstone(newest) && key_moment_tombstone(newest - 1) &&
        newest[-1].main == at)
        *first = end - 2;
    return end;
}

bool key_record_find(const struct key_record *record, int64_t at, struct mvcc_entry *entry)
{
    entry->key = key_record_key(record);
    if (record->main <= at && !key_record_alive(record)) return false;
    struct key_past past;
    key_record_past(record, &past);
    uint32_t end = key_past_until(&past, at);
    if (end == 0 || key_moment_tombstone(&past.moments[end - 1])) return false;
    entry->modified = key_moment_revision(&past.moments[end - 1]);
    entry->created = key_past_created(&past, end - 1);
    entry->version = key_past_version(&past, end - 1);
    return true;
}

/* Makes `record` a HISTORY with room for one more moment; the record may move. */
static struct history *record_grow(struct key_record **slot)
{
    struct key_record *record = *slot;
    struct history *history;
    if (key_record_kind(record) != KEY_RECORD_HISTORY) {
        struct key_past past;
        key_record_past(record, &past);
        history = mem_alloc(sizeof(*history) + 2 * sizeof(history->moments[0]));
        history->count = 1;
        history->capacity = 2;
        history->created = past.created;
        history->version = past.version;
        history->moments[0] = past.single;
        *slot = allocate(KEY_RECORD_HISTORY, key_record_key(record));
        (*slot)->main = record->main;
        (*slot)->sub = record->sub;
        key_record_free(record);
    } else {
        history = record_history(record);
        if (history->count < history->capacity) return history;
        assert(history->capacity < UINT32_MAX / 2);
        history->capacity *= 2;
        history = mem_realloc(history, sizeof(*history) + history->capacity * sizeof(history->moments[0]));
    }
    memcpy((*slot)->tail, &history, sizeof(history));
    return history;
}

uint32_t key_moment_pack(struct mvcc_revision revision, bool tombstone)
{
    assert(revision.main > 0 && revision.sub >= 0 && revision.sub <= MVCC_SUB_MAX);
    return (uint32_t)revision.sub | (tombstone ? KEY_TOMBSTONE : 0);
}

void key_record_append(struct key_record **slot, struct mvcc_revision revision, bool tombstone)
{
    struct mvcc_revision newest = {(*slot)->main, (int64_t)((*slot)->sub & ~KEY_TOMBSTONE)};
    assert(mvcc_revision_compare(newest, revision) < 0);
    struct history *history = record_grow(slot);
    const struct key_moment *last = &history->moments[history->count - 1];
    uint32_t start = key_moment_tombstone(last) ? history->count : last->start;
    history->moments[history->count++] =
        (struct key_moment){revision.main, key_moment_pack(revision, tombstone), start};
    (*slot)->main = revision.main;
    (*slot)->sub = key_moment_pack(revision, tombstone);
}

void key_record_trim(struct key_record **slot, uint32_t drop)
{
    struct key_past past;
    key_record_past(*slot, &past);
    assert(drop > 0 && drop < past.count);
    int64_t created = key_past_created(&past, drop), version = key_past_version(&past, drop);
    if (past.count - drop == 1) {
        struct key_record *record =
            key_record_new(key_record_key(*slot), past.moments[drop], created, version);
        key_record_free(*slot);
        *slot = record;
        return;
    }
    struct history *history = record_history(*slot);
    history->count -= drop;
    history->created = created;
    history->version = version;
    memmove(history->moments, history->moments + drop, history->count * sizeof(history->moments[0]));
    for (uint32_t i = 0; i < history->count; i++) {
        struct key_moment *moment = &history->moments[i];
        moment->start = moment->start > drop ? moment->start - drop : 0;
    }
    if (history->capacity / 2 >= history->count) {
        history->capacity = history->count;
        history = mem_realloc(history, sizeof(*history) + history->capacity * sizeof(history->moments[0]));
        memcpy((*slot)->tail, &history, sizeof(history));
    }
}

uint64_t key_record_verify(const struct key_record *record)
{
    struct key_past past;
    key_record_past(record, &past);
    assert(past.count >= 1);
    if (key_record_kind(record) == KEY_RECORD_HISTORY) {
        assert(past.count >= 2 && record_history(record)->capacity >= past.count);
        assert(past.moments[past.count - 1].main == record->main &&
               past.moments[past.count - 1].sub == record->sub);
    }
    assert(past.moments[0].start == 0);
    for (uint32_t i = 1; i < past.count; i++) {
        const struct key_moment *moment = &past.moments[i];
        assert(mvcc_revision_compare(key_moment_revision(moment - 1), key_moment_revision(moment)) < 0);
        assert(moment->start == (key_moment_tombstone(moment - 1) ? i : moment[-1].start));
    }
    return past.count;
}
