#include "base/arena.h"
#include "base/memory.h"
#include "mvcc/kv_state.h"

#include <assert.h>
#include <stdlib.h>

/* A key that waits in the heap of a sorted range. */
struct item {
    struct mvcc_entry entry; /* key in the arena */
    struct bytes row;        /* when sorted by value: the encoded KeyValue, in the arena */
    struct bytes value;      /* inside row */
    uint64_t place;          /* in key order: equal items keep it */
};

/* Walks the span in key order, at one revision. Ranges in key order write keys as they come; sorted ones
 * gather them in a heap and write from its top, so that no slice has to sort everything. */
enum phase { PHASE_WALK, PHASE_WRITE_SORTED, PHASE_DONE };

struct kv_range_job {
    struct kv *kv;
    const Etcdserverpb__RangeRequest *request;
    int64_t at;
    bool pinned;
    enum phase phase;

    struct mvcc_span span;
    struct buf single_end; /* upper bound of a single key's span */
    struct buf last_key;   /* walked so far */
    bool begun;

    uint64_t limit; /* keys to write: UINT64_MAX when there is none */
    bool filtered;
    bool sorted;
    bool gather_limited; /* the limit holds before sorting */
    bool count_known;
    uint64_t count;
    uint64_t matched; /* alive and through the filters */
    uint64_t written;

    struct item *heap;
    size_t heap_count;
    size_t heap_capacity;
    struct arena *arena;

    struct buf out;          /* written and not yet in `pieces` */
    struct blob_list pieces; /* of a job that runs in slices */
    bool in_pieces;
};

/* A large answer is not built in one run of memory: growing and copying that would take much longer than a
 * slice. A slice ends early when it has taken as much as this. */
enum { PIECE_SIZE = 256 * 1024, SLICE_SIZE = 1024 * 1024 };

enum api_error kv_error_of(enum mvcc_status status)
{
    static const enum api_error errors[] = {
        [MVCC_OK] = API_OK,
        [MVCC_COMPACTED] = API_ERROR_COMPACTED,
        [MVCC_FUTURE_REVISION] = API_ERROR_FUTURE_REVISION,
    };
    return errors[status];
}

/* ---- order ---- */

#define SORT_TARGET(name) ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__##name
#define SORT_ORDER(name)  ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__##name

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_target(const struct kv_range_job *job, const struct item *a, const struct item *b)
{
    switch (job->request->sort_target) {
    case SORT_TARGET(VERSION):
        return compare_numbers(a->entry.version, b->entry.version);
    case SORT_TARGET(CREATE):
        return compare_numbers(a->entry.created, b->entry.created);
    case SORT_TARGET(MOD):
        return compare_numbers(a->entry.modified.main, b->entry.modified.main);
    case SORT_TARGET(VALUE):
        return bytes_compare(a->value, b->value);
    default:
        return bytes_compare(a->entry.key, b->entry.key);
    }
}

static bool item_before(const struct kv_range_job *job, const struct item *a, const struct item *b)
{
    int order = compare_target(job, a, b);
    if (job->request->sort_order == SORT_ORDER(DESCEND)) order = -order;
    return order != 0 ? order < 0 : a->place < b->place;
}

static void heap_push(struct kv_range_job *job, const struct item *item)
{
    if (job->heap_count == job->heap_capacity) {
        job->heap_capacity = job->heap_capacity == 0 ? 64 : job->heap_capacity * 2;
        job->heap = mem_realloc(job->heap, job->heap_capacity * sizeof(*item));
    }
    size_t at = job->heap_count++;
    while (at > 0 && item_before(job, item, &job->heap[(at - 1) / 2])) {
        job->heap[at] = job->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    job->heap[at] = *item;
}

static struct item heap_pop(struct kv_range_job *job)
{
    assert(job->heap_count > 0);
    struct item top = job->heap[0], last = job->heap[--job->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= job->heap_count) break;
        if (child + 1 < job->heap_count && item_before(job, &job->heap[child + 1], &job->heap[child]))
            child++;
        if (!item_before(job, &job->heap[child], &last)) break;
        job->heap[at] = job->heap[child];
        at = child;
    }
    if (job->heap_count > 0) job->heap[at] = last;
    return top;
}

/* ---- writing keys ---- */

static void close_piece(struct kv_range_job *job)
{
    blob_list_add(&job->pieces, blob_from(buf_bytes(&job->out)));
    buf_clear(&job->out);
}

static void close_full_piece(struct kv_range_job *job)
{
    if (job->in_pieces && job->out.size >= PIECE_SIZE) close_piece(job);
}

static void write_parsed(struct buf *out, const struct mvcc_key_value *key_value)
{
    size_t size = mvcc_key_value_size(key_value);
    wire_tag(out, RANGE_KVS, WIRE_LENGTH);
    wire_varint(out, size);
    mvcc_key_value_put(buf_reserve(out, size), key_value);
    out->size += size;
}

static void write_from_index(struct buf *out, const struct mvcc_entry *entry)
{
    write_parsed(out, &(struct mvcc_key_value){.key = entry->key,
                                               .created = entry->created,
                                               .modified = entry->modified.main,
                                               .version = entry->version});
}

static struct error *write_entry(struct kv_range_job *job, const struct mvcc_entry *entry)
{
    job->written++;
    if (job->request->keys_only) {
        write_from_index(&job->out, entry);
        return NULL;
    }
    struct bytes row;
    TRY(mvcc_read(job->kv->store, entry->modified, &row));
    wire_bytes_field(&job->out, RANGE_KVS, row);
    return NULL;
}

/* A key sorted by value comes with its row; without the value the rest of the row stays, lease included. */
static struct error *write_item(struct kv_range_job *job, const struct item *item)
{
    if (item->row.data == NULL) return write_entry(job, &item->entry);
    job->written++;
    struct mvcc_key_value key_value;
    if (!job->request->keys_only) {
        wire_bytes_field(&job->out, RANGE_KVS, item->row);
    } else if (mvcc_key_value_parse(item->row, &key_value)) {
        key_value.value = BYTES_EMPTY;
        write_parsed(&job->out, &key_value);
    }
    return NULL;
}

/* ---- walking ---- */

static bool within(int64_t number, int64_t least, int64_t most)
{
    return (least == 0 || number >= least) && (most == 0 || number <= most);
}

static bool passes(const Etcdserverpb__RangeRequest *request, const struct mvcc_entry *entry)
{
    return within(entry->modified.main, request->min_mod_revision, request->max_mod_revision) &&
           within(entry->created, request->min_create_revision, request->max_create_revision);
}

static struct error *gather(struct kv_range_job *job, const struct mvcc_entry *entry)
{
    struct item item = {.entry = *entry, .place = job->matched};
    item.entry.key = arena_copy(job->arena, entry->key);
    if (job->request->sort_target == SORT_TARGET(VALUE)) {
        struct bytes row;
        struct mvcc_key_value key_value;
        TRY(mvcc_read(job->kv->store, entry->modified, &row));
        item.row = arena_copy(job->arena, row);
        if (!mvcc_key_value_parse(item.row, &key_value))
            return error_new(ERROR_CORRUPT, "revision %lld.%lld is no KeyValue",
                             (long long)entry->modified.main, (long long)entry->modified.sub);
        item.value = key_value.value;
    }
    heap_push(job, &item);
    return NULL;
}

/* One more live key. */
static struct error *take_entry(struct kv_range_job *job, const struct mvcc_entry *entry)
{
    if (!job->count_known) job->count++;
    if (job->request->count_only || !passes(job->request, entry)) return NULL;
    struct error *error = NULL;
    if (job->sorted) {
        if (!job->gather_limited || job->matched <= job->limit) error = gather(job, entry);
    } else if (job->matched < job->limit) {
        error = write_entry(job, entry);
    }
    job->matched++;
    return error;
}

/* Bytes that were copied so far. */
static size_t bytes_taken(const struct kv_range_job *job)
{
    return job->pieces.size + job->out.size + (job->sorted ? arena_footprint(job->arena) : 0);
}

static bool slice_is_large(const struct kv_range_job *job, size_t before)
{
    return job->in_pieces && bytes_taken(job) >= before + SLICE_SIZE;
}

/* Nothing that is still to come can change the answer. */
static bool walked_enough(const struct kv_range_job *job)
{
    if (!job->count_known) return false;
    if (job->request->count_only) return true;
    return (!job->sorted || job->gather_limited) && job->matched > job->limit;
}

static struct error *walk(struct kv_range_job *job, size_t max_keys)
{
    const struct mvcc_index *index = mvcc_index(job->kv->store);
    struct bytes from = job->begun ? buf_bytes(&job->last_key) : job->span.from;
    struct mvcc_index_cursor cursor = mvcc_index_seek(index, from, job->begun);
    struct mvcc_entry entry;
    size_t before = bytes_taken(job);
    bool over = false;
    for (size_t i = 0; !over && !walked_enough(job); i++) {
        int alive = mvcc_index_next(&cursor, job->at, &entry);
        if (alive < 0 || (!job->span.open && bytes_compare(entry.key, job->span.to) >= 0)) {
            job->phase = job->sorted ? PHASE_WRITE_SORTED : PHASE_DONE;
            return NULL;
        }
        if (alive > 0) TRY(take_entry(job, &entry));
        close_full_piece(job);
        over = i + 1 == max_keys || slice_is_large(job, before);
        if (over) {
            buf_clear(&job->last_key);
            buf_append_bytes(&job->last_key, entry.key);
            job->begun = true;
        }
    }
    if (walked_enough(job)) job->phase = job->sorted ? PHASE_WRITE_SORTED : PHASE_DONE;
    return NULL;
}

static struct error *write_sorted(struct kv_range_job *job, size_t max_keys)
{
    size_t before = bytes_taken(job);
    for (; max_keys > 0 && job->heap_count > 0 && job->written < job->limit && !slice_is_large(job, before);
         max_keys--) {
        struct item item = heap_pop(job);
        TRY(write_item(job, &item));
        close_full_piece(job);
    }
    if (job->heap_count == 0 || job->written == job->limit) job->phase = PHASE_DONE;
    return NULL;
}

/* ---- the job ---- */

static void job_init(struct kv_range_job *job, struct kv *kv, const Etcdserverpb__RangeRequest *request,
                     int64_t at, int64_t current)
{
    *job = (struct kv_range_job){.kv = kv, .request = request, .at = at};
    job->span = mvcc_span_of(kv_bytes(request->key), kv_bytes(request->range_end), &job->single_end);
    job->limit = request->limit > 0 ? (uint64_t)request->limit : UINT64_MAX;
    job->filtered = request->min_mod_revision != 0 || request->max_mod_revision != 0 ||
                    request->min_create_revision != 0 || request->max_create_revision != 0;
    job->sorted = !request->count_only &&
                  (request->sort_order == SORT_ORDER(DESCEND) || request->sort_target != SORT_TARGET(KEY));
    /* etcd pushes the limit into the scan unless that could change the answer, and by oversight also here,
     * where it does: the first keys in key order, then sorted. */
    job->gather_limited =
        request->sort_order == SORT_ORDER(NONE) && !job->filtered && job->limit != UINT64_MAX;
    if (job->sorted) job->arena = arena_new();
    if (at == current) {
        job->count_known = true;
        job->count = mvcc_index_count(mvcc_index(kv->store), &job->span, at);
    }
}

static void job_deinit(struct kv_range_job *job)
{
    buf_deinit(&job->single_end);
    buf_deinit(&job->last_key);
    buf_deinit(&job->out);
    blob_list_deinit(&job->pieces);
    arena_free(job->arena);
    free(job->heap);
}

static struct error *job_step(struct kv_range_job *job, size_t max_keys)
{
    if (job->phase == PHASE_WALK) return walk(job, max_keys);
    if (job->phase == PHASE_WRITE_SORTED) return write_sorted(job, max_keys);
    return NULL;
}

static void write_end(struct buf *out, bool more, uint64_t count)
{
    if (more) wire_uint_field(out, RANGE_MORE, 1);
    wire_uint_field_nonzero(out, RANGE_COUNT, count);
}

static void job_end(struct kv_range_job *job)
{
    write_end(&job->out, !job->request->count_only && job->matched > job->limit, job->count);
}

struct kv_range_job *kv_range_begin(struct kv *kv, const Etcdserverpb__RangeRequest *request,
                                    const struct kv_header *header, enum api_error *status)
{
    int64_t at;
    *status = kv_error_of(mvcc_check_revision(kv->store, request->revision, &at));
    if (*status != API_OK) return NULL;
    struct kv_range_job *job = mem_alloc(sizeof(*job));
    job_init(job, kv, request, at, mvcc_revision(kv->store));
    job->pinned = true;
    job->in_pieces = true;
    mvcc_pin(kv->store, at);
    kv_header_write(&job->out, header, mvcc_revision(kv->store));
    return job;
}

struct error *kv_range_step(struct kv_range_job *job, size_t max_keys, bool *done)
{
    assert(max_keys > 0);
    struct error *error = job_step(job, max_keys);
    *done = job->phase == PHASE_DONE;
    return error;
}

uint64_t kv_range_finish(struct kv_range_job *job, struct blob_list *response)
{
    uint64_t written = job->written;
    if (response != NULL) {
        assert(job->phase == PHASE_DONE && response->count == 0);
        job_end(job);
        close_piece(job);
        *response = job->pieces;
        job->pieces = (struct blob_list){0};
    }
    mvcc_unpin(job->kv->store, job->at);
    job_deinit(job);
    free(job);
    return written;
}

/* The everyday read: one key, no question about its revisions. */
static bool is_plain_get(const Etcdserverpb__RangeRequest *request)
{
    return request->range_end.len == 0 && !request->count_only && !request->keys_only &&
           request->min_mod_revision == 0 && request->max_mod_revision == 0 &&
           request->min_create_revision == 0 && request->max_create_revision == 0;
}

static struct error *get_append(struct kv *kv, const Etcdserverpb__RangeRequest *request, int64_t at,
                                struct buf *response, uint64_t *count)
{
    struct mvcc_entry entry;
    struct bytes row;
    bool found;
    TRY(mvcc_get(kv->store, kv_bytes(request->key), at, &found, &entry, &row));
    *count = found ? 1 : 0;
    if (found) wire_bytes_field(response, RANGE_KVS, row);
    write_end(response, false, *count);
    return NULL;
}

struct error *kv_range_append(struct kv *kv, const Etcdserverpb__RangeRequest *request, int64_t at,
                              int64_t current, const struct kv_header *header, struct buf *response,
                              uint64_t *count)
{
    kv_header_write(response, header, current);
    if (is_plain_get(request)) return get_append(kv, request, at, response, count);
    struct kv_range_job job;
    job_init(&job, kv, request, at, current);
    job.out = *response; /* written to directly */
    struct error *error = NULL;
    while (error == NULL && job.phase != PHASE_DONE) error = job_step(&job, SIZE_MAX);
    job_end(&job);
    *response = job.out;
    job.out = (struct buf){0};
    *count = job.written;
    job_deinit(&job);
    return error;
}

struct error *kv_range(struct kv *kv, const Etcdserverpb__RangeRequest *request,
                       const struct kv_header *header, struct buf *response, uint64_t *count,
                       enum api_error *status)
{
    int64_t at;
    uint64_t written = 0;
    *status = kv_error_of(mvcc_check_revision(kv->store, request->revision, &at));
    struct error *error = NULL;
    if (*status == API_OK && response != NULL)
        error = kv_range_append(kv, request, at, mvcc_revision(kv->store), header, response, &written);
    if (count != NULL) *count = written;
    return error;
}
