#include "mvcc/kv.h"

#include "api/keys.h"
#include "base/memory.h"
#include "mvcc/kv_check.h"
#include "mvcc/kv_state.h"

#include <assert.h>
#include <stdlib.h>

void kv_init(struct kv *kv, struct mvcc_store *store)
{
    *kv = (struct kv){.store = store};
}

void kv_header_write(struct buf *out, const struct kv_header *header, int64_t revision)
{
    size_t mark = wire_message_begin(out, RESPONSE_HEADER);
    wire_uint_field_nonzero(out, HEADER_CLUSTER_ID, header->cluster_id);
    wire_uint_field_nonzero(out, HEADER_MEMBER_ID, header->member_id);
    wire_uint_field_nonzero(out, HEADER_REVISION, (uint64_t)revision);
    wire_uint_field_nonzero(out, HEADER_RAFT_TERM, header->raft_term);
    wire_message_end(out, mark);
}

/* So that a refused request does not look as if it repeated the one before. */
static void forget_changes(struct kv *kv)
{
    kv->changes = NULL;
    kv->change_count = 0;
}

static void begin(struct kv *kv)
{
    forget_changes(kv);
    mvcc_txn_begin(kv->store);
}

static void end(struct kv *kv)
{
    kv->changes = mvcc_txn_end(kv->store, &kv->change_count);
}

/* ---- put ---- */

static bool lease_exists(const struct kv *kv, int64_t lease)
{
    const struct mvcc_leases *leases = mvcc_leases(kv->store);
    return leases->exists != NULL && leases->exists(leases->context, lease);
}

static bool wants_previous(const Etcdserverpb__PutRequest *request)
{
    return request->ignore_value || request->ignore_lease;
}

/* What the state before the transaction has to offer. */
static enum api_error check_put(const struct kv *kv, const Etcdserverpb__PutRequest *request, int64_t at)
{
    struct mvcc_entry entry;
    if (request->lease != 0 && !lease_exists(kv, request->lease)) return API_ERROR_LEASE_NOT_FOUND;
    if (wants_previous(request) && !mvcc_find(kv->store, kv_bytes(request->key), at, &entry))
        return API_ERROR_KEY_NOT_FOUND;
    return API_OK;
}

/* Inside a store transaction: puts, and appends what follows the header of the PutResponse. */
static struct error *execute_put(struct kv *kv, const Etcdserverpb__PutRequest *request, struct buf *response)
{
    struct bytes value = kv_bytes(request->value), previous = BYTES_EMPTY;
    int64_t lease = request->lease;
    bool found = false, show = request->prev_kv && response != NULL;
    if (wants_previous(request) || show) {
        struct mvcc_entry entry;
        TRY(mvcc_get(kv->store, kv_bytes(request->key), INT64_MAX, &found, &entry, &previous));
    }
    if (wants_previous(request) && found) {
        struct mvcc_key_value key_value;
        if (!mvcc_key_value_parse(previous, &key_value))
            return error_new(ERROR_CORRUPT, "the stored value of a key is no KeyValue");
        if (request->ignore_value) value = key_value.value;
        if (request->ignore_lease) lease = key_value.lease;
    }
    if (show && found) wire_bytes_field(response, PUT_PREV_KV, previous);
    mvcc_txn_put(kv->store, kv_bytes(request->key), value, lease);
    return NULL;
}

struct error *kv_put(struct kv *kv, const Etcdserverpb__PutRequest *request, const struct kv_header *header,
                     struct buf *response, enum api_error *status)
{
    forget_changes(kv);
    *status = check_put(kv, request, INT64_MAX);
    if (*status != API_OK) return NULL;
    begin(kv);
    if (response != NULL) kv_header_write(response, header, mvcc_txn_write_revision(kv->store));
    TRY(execute_put(kv, request, response));
    end(kv);
    return NULL;
}

/* ---- delete ---- */

static struct error *append_span(struct kv *kv, const struct mvcc_span *span, struct buf *response)
{
    struct mvcc_index_cursor cursor = mvcc_index_seek(mvcc_index(kv->store), span->from, false);
    struct mvcc_entry entry;
    int alive;
    while ((alive = mvcc_index_next(&cursor, INT64_MAX, &entry)) >= 0) {
        if (!span->open && bytes_compare(entry.key, span->to) >= 0) break;
        if (alive == 0) continue;
        struct bytes row;
        TRY(mvcc_read(kv->store, entry.modified, &row));
        wire_bytes_field(response, DELETE_PREV_KVS, row);
    }
    return NULL;
}

static struct error *delete_span(struct kv *kv, const struct mvcc_span *span, bool prev_kv,
                                 const struct kv_header *header, struct buf *response)
{
    if (response != NULL) {
        uint64_t count = mvcc_index_count(mvcc_index(kv->store), span, INT64_MAX);
        int64_t revision = count > 0 ? mvcc_txn_write_revision(kv->store) : mvcc_txn_revision(kv->store);
        kv_header_write(response, header, revision);
        wire_uint_field_nonzero(response, DELETE_DELETED, count);
        if (prev_kv) TRY(append_span(kv, span, response));
    }
    mvcc_txn_delete(kv->store, span);
    return NULL;
}

/* Inside a store transaction: deletes, and appends the DeleteRangeResponse. */
static struct error *execute_delete(struct kv *kv, const Etcdserverpb__DeleteRangeRequest *request,
                                    const struct kv_header *header, struct buf *response)
{
    struct buf single_end = {0};
    struct mvcc_span span = mvcc_span_of(kv_bytes(request->key), kv_bytes(request->range_end), &single_end);
    struct error *error = delete_span(kv, &span, request->prev_kv, header, response);
    buf_deinit(&single_end);
    return error;
}

struct error *kv_delete_range(struct kv *kv, const Etcdserverpb__DeleteRangeRequest *request,
                              const struct kv_header *header, struct buf *response, enum api_error *status)
{
    *status = API_OK;
    begin(kv);
    TRY(execute_delete(kv, request, header, response));
    end(kv);
    return NULL;
}

void kv_revoke(struct kv *kv, const struct bytes *keys, size_t count)
{
    struct buf single_end = {0};
    begin(kv);
    for (size_t i = 0; i < count; i++) {
        struct mvcc_span span = mvcc_span_of(keys[i], BYTES_EMPTY, &single_end);
        mvcc_txn_delete(kv->store, &span);
    }
    end(kv);
    buf_deinit(&single_end);
}

/* ---- transactions ----
 *
 * In three phases, all on the path that the compares choose: evaluate every compare, nested ones too, on the
 * state before; check everything that may refuse; then execute in order. So a refusal leaves nothing behind.
 */
struct txn {
    struct kv *kv;
    int64_t begin; /* revision of the state before */
    bool writing;  /* a store transaction is open */
    bool *path;    /* per transaction in the order they are met: did its compares hold */
    size_t path_count;
    size_t path_capacity;
    size_t path_next;
    /* The smallest key from which an earlier operation deletes without bound: such a range escapes etcd's
     * check for keys both deleted and put. */
    struct bytes deleted_from;
    bool deletes_open;
};

struct branch {
    Etcdserverpb__RequestOp *const *operations;
    size_t count;
};

static struct branch branch_of(const Etcdserverpb__TxnRequest *request, bool succeeded)
{
    if (succeeded) return (struct branch){request->success, request->n_success};
    return (struct branch){request->failure, request->n_failure};
}

/* -- evaluate -- */

#define COMPARE_TARGET(name) ETCDSERVERPB__COMPARE__COMPARE_TARGET__##name
#define COMPARE_UNION(name)  ETCDSERVERPB__COMPARE__TARGET_UNION_##name

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* A union member that is not the target's own counts as zero. */
static int compare_with(const Etcdserverpb__Compare *compare, const struct mvcc_key_value *key_value)
{
    int given = (int)compare->target_union_case;
    switch ((int)compare->target) {
    case COMPARE_TARGET(VERSION):
        return compare_numbers(key_value->version, given == COMPARE_UNION(VERSION) ? compare->version : 0);
    case COMPARE_TARGET(CREATE):
        return compare_numbers(key_value->created,
                               given == COMPARE_UNION(CREATE_REVISION) ? compare->create_revision : 0);
    case COMPARE_TARGET(MOD):
        return compare_numbers(key_value->modified,
                               given == COMPARE_UNION(MOD_REVISION) ? compare->mod_revision : 0);
    case COMPARE_TARGET(VALUE):
        return bytes_compare(key_value->value,
                             given == COMPARE_UNION(VALUE) ? kv_bytes(compare->value) : BYTES_EMPTY);
    case COMPARE_TARGET(LEASE):
        return compare_numbers(key_value->lease, given == COMPARE_UNION(LEASE) ? compare->lease : 0);
    default:
        return 0;
    }
}

static bool holds(const Etcdserverpb__Compare *compare, const struct mvcc_key_value *key_value)
{
    int order = compare_with(compare, key_value);
    switch ((int)compare->result) {
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL:
        return order == 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL:
        return order != 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER:
        return order > 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS:
        return order < 0;
    default:
        return true;
    }
}

/* Value and lease are in the row, the rest in the index. */
static struct error *load_for(struct txn *txn, const Etcdserverpb__Compare *compare,
                              const struct mvcc_entry *entry, struct mvcc_key_value *key_value)
{
    *key_value = (struct mvcc_key_value){.key = entry->key,
                                         .created = entry->created,
                                         .modified = entry->modified.main,
                                         .version = entry->version};
    int target = (int)compare->target;
    if (target != COMPARE_TARGET(VALUE) && target != COMPARE_TARGET(LEASE)) return NULL;
    struct bytes row;
    TRY(mvcc_read(txn->kv->store, entry->modified, &row));
    if (mvcc_key_value_parse(row, key_value)) return NULL;
    return error_new(ERROR_CORRUPT, "revision %lld.%lld is no KeyValue", (long long)entry->modified.main,
                     (long long)entry->modified.sub);
}

static struct error *evaluate_span(struct txn *txn, const Etcdserverpb__Compare *compare,
                                   const struct mvcc_span *span, bool *result)
{
    struct mvcc_index_cursor cursor = mvcc_index_seek(mvcc_index(txn->kv->store), span->from, false);
    struct mvcc_entry entry;
    struct mvcc_key_value key_value;
    int alive;
    bool any = false;
    *result = true;
    while (*result && (alive = mvcc_index_next(&cursor, txn->begin, &entry)) >= 0) {
        if (!span->open && bytes_compare(entry.key, span->to) >= 0) break;
        if (alive == 0) continue;
        any = true;
        TRY(load_for(txn, compare, &entry, &key_value));
        *result = holds(compare, &key_value);
    }
    if (any) return NULL;
    /* A missing key has no value that anything could be compared with; its numbers are zero. */
    *result = (int)compare->target != COMPARE_TARGET(VALUE) && holds(compare, &(struct mvcc_key_value){0});
    return NULL;
}

static struct error *evaluate_compare(struct txn *txn, const Etcdserverpb__Compare *compare, bool *result)
{
    struct buf single_end = {0};
    struct mvcc_span span = mvcc_span_of(kv_bytes(compare->key), kv_bytes(compare->range_end), &single_end);
    struct error *error = evaluate_span(txn, compare, &span, result);
    buf_deinit(&single_end);
    return error;
}

static struct error *evaluate(struct txn *txn, const Etcdserverpb__TxnRequest *request)
{
    bool succeeded = true;
    for (size_t i = 0; succeeded && i < request->n_compare; i++)
        TRY(evaluate_compare(txn, request->compare[i], &succeeded));
    if (txn->path_count == txn->path_capacity) {
        txn->path_capacity = txn->path_capacity == 0 ? 8 : txn->path_capacity * 2;
        txn->path = mem_realloc(txn->path, txn->path_capacity * sizeof(bool));
    }
    txn->path[txn->path_count++] = succeeded;
    struct branch branch = branch_of(request, succeeded);
    for (size_t i = 0; i < branch.count; i++)
        if (branch.operations[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            TRY(evaluate(txn, branch.operations[i]->request_txn));
    return NULL;
}

static bool next_on_path(struct txn *txn)
{
    assert(txn->path_next < txn->path_count);
    return txn->path[txn->path_next++];
}

/* -- check -- */

/* Unlike in a Range, a negative revision is not the current one here: it lies before every compaction. */
static enum api_error check_range(const struct txn *txn, const Etcdserverpb__RangeRequest *request)
{
    if (request->revision == 0) return API_OK;
    if (request->revision > txn->begin) return API_ERROR_FUTURE_REVISION;
    return request->revision < mvcc_compact_revision(txn->kv->store) ? API_ERROR_COMPACTED : API_OK;
}

/* etcd crashes on a put that refers to a value which the same transaction deletes before; here it is a
 * missing key. */
static enum api_error check_txn_put(const struct txn *txn, const Etcdserverpb__PutRequest *request)
{
    enum api_error error = check_put(txn->kv, request, txn->begin);
    if (error != API_OK || !wants_previous(request) || !txn->deletes_open) return error;
    return bytes_compare(kv_bytes(request->key), txn->deleted_from) >= 0 ? API_ERROR_KEY_NOT_FOUND : API_OK;
}

static void note_delete(struct txn *txn, const Etcdserverpb__DeleteRangeRequest *request)
{
    struct bytes key = kv_bytes(request->key);
    if (!key_is_open_end(kv_bytes(request->range_end))) return;
    if (!txn->deletes_open || bytes_compare(key, txn->deleted_from) < 0) txn->deleted_from = key;
    txn->deletes_open = true;
}

static enum api_error check(struct txn *txn, const Etcdserverpb__TxnRequest *request)
{
    struct branch branch = branch_of(request, next_on_path(txn));
    enum api_error error = API_OK;
    for (size_t i = 0; error == API_OK && i < branch.count; i++) {
        const Etcdserverpb__RequestOp *operation = branch.operations[i];
        switch (operation->request_case) {
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
            error = check_range(txn, operation->request_range);
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
            error = check_txn_put(txn, operation->request_put);
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
            note_delete(txn, operation->request_delete_range);
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
            error = check(txn, operation->request_txn);
            break;
        default:
            error = API_ERROR_KEY_NOT_FOUND;
            break; /* refused by kv_check_txn; never from a log of ours */
        }
    }
    return error;
}

/* -- execute -- */

static const struct kv_header no_header = {0, 0, 0};

static int64_t txn_revision(const struct txn *txn)
{
    return txn->writing ? mvcc_txn_revision(txn->kv->store) : txn->begin;
}

static struct error *execute_range(struct txn *txn, const Etcdserverpb__RangeRequest *request,
                                   struct buf *response)
{
    if (response == NULL) return NULL;
    int64_t current = txn_revision(txn);
    uint64_t count;
    return kv_range_append(txn->kv, request, request->revision <= 0 ? current : request->revision, current,
                           &no_header, response, &count);
}

static struct error *execute_branch(struct txn *txn, const Etcdserverpb__TxnRequest *request,
                                    struct buf *response);

/* Appends the content of the response op's member. */
static struct error *execute_operation(struct txn *txn, const Etcdserverpb__RequestOp *operation,
                                       struct buf *response)
{
    switch (operation->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return execute_range(txn, operation->request_range, response);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        if (response != NULL) kv_header_write(response, &no_header, mvcc_txn_write_revision(txn->kv->store));
        return execute_put(txn->kv, operation->request_put, response);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return execute_delete(txn->kv, operation->request_delete_range, &no_header, response);
    default:
        /* A nested transaction has a header, an empty one. */
        if (response != NULL) kv_header_write(response, &no_header, 0);
        return execute_branch(txn, operation->request_txn, response);
    }
}

/* Executes the branch that the path says; appends `succeeded` and the responses. ResponseOp numbers its
 * members as RequestOp does. */
static struct error *execute_branch(struct txn *txn, const Etcdserverpb__TxnRequest *request,
                                    struct buf *response)
{
    bool succeeded = next_on_path(txn);
    struct branch branch = branch_of(request, succeeded);
    if (response != NULL && succeeded) wire_uint_field(response, TXN_SUCCEEDED, 1);
    for (size_t i = 0; i < branch.count; i++) {
        const Etcdserverpb__RequestOp *operation = branch.operations[i];
        size_t outer = 0, inner = 0;
        if (response != NULL) {
            outer = wire_message_begin(response, TXN_RESPONSES);
            inner = wire_message_begin(response, (uint32_t)operation->request_case);
        }
        TRY(execute_operation(txn, operation, response));
        if (response != NULL) {
            wire_message_end(response, inner);
            wire_message_end(response, outer);
        }
    }
    return NULL;
}

/* The header goes in front of what it depends on: whether anything changed. It is written for the likelier
 * case and replaced when that was wrong. */
static void correct_header(struct buf *response, size_t start, size_t end_of_header,
                           const struct kv_header *header, int64_t revision)
{
    struct buf corrected = {0};
    kv_header_write(&corrected, header, revision);
    size_t behind = response->size - end_of_header;
    buf_reserve(response, corrected.size);
    memmove(response->data + start + corrected.size, response->data + end_of_header, behind);
    memcpy(response->data + start, corrected.data, corrected.size);
    response->size = start + corrected.size + behind;
    buf_deinit(&corrected);
}

static struct error *execute(struct txn *txn, const Etcdserverpb__TxnRequest *request,
                             const struct kv_header *header, struct buf *response)
{
    size_t start = response == NULL ? 0 : response->size;
    int64_t likely = txn->begin + (txn->writing ? 1 : 0);
    if (response != NULL) kv_header_write(response, header, likely);
    size_t end_of_header = response == NULL ? 0 : response->size;
    txn->path_next = 0;
    TRY(execute_branch(txn, request, response));
    if (response != NULL && txn_revision(txn) != likely)
        correct_header(response, start, end_of_header, header, txn_revision(txn));
    return NULL;
}

static struct error *run_txn(struct txn *txn, const Etcdserverpb__TxnRequest *request,
                             const struct kv_header *header, struct buf *response, enum api_error *status)
{
    TRY(evaluate(txn, request));
    *status = check(txn, request);
    if (*status != API_OK) return NULL;
    txn->writing = !kv_txn_is_read_only(request);
    if (txn->writing) begin(txn->kv);
    TRY(execute(txn, request, header, response));
    if (txn->writing) end(txn->kv);
    return NULL;
}

struct error *kv_txn(struct kv *kv, const Etcdserverpb__TxnRequest *request, const struct kv_header *header,
                     struct buf *response, enum api_error *status)
{
    struct txn txn = {.kv = kv, .begin = mvcc_revision(kv->store)};
    forget_changes(kv);
    struct error *error = run_txn(&txn, request, header, response, status);
    free(txn.path);
    return error;
}
