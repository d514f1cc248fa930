/* Sequences of arbitrary KV requests, run on two members: one answers, the other has no client waiting and
 * compacts in other slices. Never a crash; every answer is well-formed; a range in slices is the range in one
 * go; a refusal changes nothing; and both members stay the same.
 *
 * Input: any number of steps, each a byte for its kind, two for the size of what follows (little-endian), the
 * message.
 */
#include "api/message.h"
#include "mvcc/kv.h"
#include "mvcc/kv_check.h"
#include "storage/backend.h"
#include "storage/fs_sim.h"
#include "tests/fuzz/fuzz.h"

enum step_kind { STEP_PUT, STEP_DELETE, STEP_RANGE, STEP_TXN, STEP_COMPACT, STEP_KINDS };

enum { STEPS_MAX = 64, KEY = 'k', LEASE = 7 };

struct member {
    struct fs_sim *sim;
    struct backend *backend;
    struct mvcc_store *store;
    struct kv kv;
    size_t slice;
};

static const struct kv_header header = {1, 2, 3};

static bool lease_exists(void *context, int64_t lease)
{
    (void)context;
    return lease == LEASE;
}

static void lease_attach(void *context, int64_t lease, struct bytes key)
{
    (void)key;
    FUZZ_CHECK(lease_exists(context, lease));
}

static void lease_detach(void *context, struct bytes key)
{
    (void)context;
    (void)key;
}

static void member_init(struct member *member, size_t slice)
{
    member->sim = fs_sim_new(&(struct fs_sim_options){.seed = 1, .file_size = 1 << 24});
    fuzz_must(backend_open(fs_sim_fs(member->sim), "/db",
                           &(struct backend_options){.initial_map_size = 1 << 24}, &member->backend));
    struct mvcc_options options = {.leases = {NULL, lease_exists, lease_attach, lease_detach}};
    fuzz_must(mvcc_open(member->backend, &options, &member->store));
    kv_init(&member->kv, member->store);
    member->slice = slice;
}

static void member_deinit(struct member *member)
{
    mvcc_close(member->store);
    fuzz_must(backend_close(member->backend));
    fs_sim_free(member->sim);
}

/* ---- steps ---- */

static const ProtobufCMessageDescriptor *request_of(enum step_kind kind)
{
    switch (kind) {
    case STEP_PUT:
        return &etcdserverpb__put_request__descriptor;
    case STEP_DELETE:
        return &etcdserverpb__delete_range_request__descriptor;
    case STEP_RANGE:
        return &etcdserverpb__range_request__descriptor;
    case STEP_TXN:
        return &etcdserverpb__txn_request__descriptor;
    default:
        return &etcdserverpb__compaction_request__descriptor;
    }
}

static const ProtobufCMessageDescriptor *response_of(enum step_kind kind)
{
    switch (kind) {
    case STEP_PUT:
        return &etcdserverpb__put_response__descriptor;
    case STEP_DELETE:
        return &etcdserverpb__delete_range_response__descriptor;
    case STEP_RANGE:
        return &etcdserverpb__range_response__descriptor;
    default:
        return &etcdserverpb__txn_response__descriptor;
    }
}

static enum api_error check(enum step_kind kind, const void *request)
{
    switch (kind) {
    case STEP_PUT:
        return kv_check_put(request);
    case STEP_DELETE:
        return kv_check_delete_range(request);
    case STEP_RANGE:
        return kv_check_range(request);
    case STEP_TXN:
        return kv_check_txn(request, KV_MAX_TXN_OPERATIONS_DEFAULT);
    default:
        return API_OK;
    }
}

static enum api_error compact(struct member *member, const Etcdserverpb__CompactionRequest *request)
{
    enum mvcc_status status = mvcc_compact_start(member->store, request->revision);
    while (mvcc_compact_pending(member->store)) {
        int64_t finished;
        fuzz_must(mvcc_compact_step(member->store, member->slice, &finished));
    }
    return status == MVCC_OK ? API_OK : API_ERROR_COMPACTED;
}

static enum api_error execute(struct member *member, enum step_kind kind, const void *request,
                              struct buf *response)
{
    enum api_error status;
    int64_t before = mvcc_revision(member->store);
    switch (kind) {
    case STEP_PUT:
        fuzz_must(kv_put(&member->kv, request, &header, response, &status));
        break;
    case STEP_DELETE:
        fuzz_must(kv_delete_range(&member->kv, request, &header, response, &status));
        break;
    case STEP_RANGE:
        fuzz_must(kv_range(&member->kv, request, &header, response, NULL, &status));
        break;
    case STEP_TXN:
        fuzz_must(kv_txn(&member->kv, request, &header, response, &status));
        break;
    default:
        return compact(member, request);
    }
    int64_t change = mvcc_revision(member->store) - before;
    if (kind != STEP_RANGE) FUZZ_CHECK(change == (member->kv.change_count > 0 ? 1 : 0));
    FUZZ_CHECK(status == API_OK || change == 0);
    FUZZ_CHECK(status == API_OK || response == NULL || response->size == 0);
    return status;
}

static void check_slices(struct member *member, const Etcdserverpb__RangeRequest *request,
                         enum api_error expected, const struct buf *whole)
{
    enum api_error status;
    struct kv_range_job *job = kv_range_begin(&member->kv, request, &header, &status);
    FUZZ_CHECK(status == expected && (job != NULL) == (status == API_OK));
    if (job == NULL) return;
    struct buf sliced = {0};
    for (bool done = false; !done;) fuzz_must(kv_range_step(job, member->slice, &done));
    struct blob_list pieces = {0};
    kv_range_finish(job, &pieces);
    for (size_t i = 0; i < pieces.count; i++) buf_append_bytes(&sliced, blob_bytes(pieces.items[i]));
    blob_list_deinit(&pieces);
    FUZZ_CHECK(bytes_equal(buf_bytes(whole), buf_bytes(&sliced)));
    buf_deinit(&sliced);
}

static void run_step(struct member members[2], enum step_kind kind, struct bytes message)
{
    struct arena *arena = arena_new();
    const void *request = message_unpack(request_of(kind), message, arena, NULL);
    if (request != NULL && check(kind, request) == API_OK) {
        struct buf response = {0}, packed = {0};
        enum api_error status = execute(&members[0], kind, request, &response);
        if (kind == STEP_RANGE) check_slices(&members[0], request, status, &response);
        FUZZ_CHECK(execute(&members[1], kind, request, NULL) == status);
        if (status == API_OK && kind != STEP_COMPACT) {
            const ProtobufCMessage *answer =
                message_unpack(response_of(kind), buf_bytes(&response), arena, NULL);
            FUZZ_CHECK(answer != NULL);
            message_pack(&packed, answer);
            FUZZ_CHECK(bytes_equal(buf_bytes(&packed), buf_bytes(&response)));
        }
        buf_deinit(&packed);
        buf_deinit(&response);
    }
    arena_free(arena);
}

static struct mvcc_hash hash_of(struct member *member)
{
    struct mvcc_hash_job *job;
    struct mvcc_hash hash;
    FUZZ_CHECK(mvcc_hash_begin(member->store, 0, &job) == MVCC_OK);
    for (bool done = false; !done;) fuzz_must(mvcc_hash_step(job, member->slice, &done));
    mvcc_hash_finish(job, &hash);
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct member members[2];
    member_init(&members[0], 2);
    member_init(&members[1], 3);
    for (int step = 0; step < STEPS_MAX && size >= 3; step++) {
        size_t length = (size_t)(data[1] | data[2] << 8);
        if (length > size - 3) length = size - 3;
        run_step(members, data[0] % STEP_KINDS, bytes_of(data + 3, length));
        data += 3 + length;
        size -= 3 + length;
    }
    struct mvcc_hash first = hash_of(&members[0]), second = hash_of(&members[1]);
    FUZZ_CHECK(first.hash == second.hash && first.revision == second.revision);
    for (size_t i = 0; i < 2; i++) {
        mvcc_index_verify(mvcc_index(members[i].store));
        member_deinit(&members[i]);
    }
    return 0;
}

/* ---- seeds ---- */

static void add_step(struct buf *out, enum step_kind kind, const ProtobufCMessage *message)
{
    struct buf packed = {0};
    message_pack(&packed, message);
    buf_append_byte(out, (uint8_t)kind);
    buf_append_byte(out, (uint8_t)packed.size);
    buf_append_byte(out, (uint8_t)(packed.size >> 8));
    buf_append_bytes(out, buf_bytes(&packed));
    buf_deinit(&packed);
}

static void add_writes(struct buf *out)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    char name[2] = {KEY, '0'};
    put.key = message_binary(bytes_of(name, 2));
    put.value = message_binary(BYTES_LITERAL("value"));
    for (int i = 0; i < 6; i++) {
        name[1] = (char)('0' + i % 4);
        put.lease = i % 3 == 0 ? LEASE : 0;
        put.prev_kv = i % 2 == 0;
        add_step(out, STEP_PUT, &put.base);
    }
    Etcdserverpb__DeleteRangeRequest deletion = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    deletion.key = message_binary(BYTES_LITERAL("k2"));
    deletion.prev_kv = true;
    add_step(out, STEP_DELETE, &deletion.base);
}

static void add_txn(struct buf *out)
{
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    compare.key = message_binary(BYTES_LITERAL("k1"));
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
    compare.value = message_binary(BYTES_LITERAL("value"));
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = message_binary(BYTES_LITERAL("k0"));
    put.ignore_value = true;
    Etcdserverpb__DeleteRangeRequest deletion = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    deletion.key = message_binary(BYTES_LITERAL("k1"));
    deletion.range_end = message_binary(BYTES_LITERAL("\0"));
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = range.range_end = message_binary(BYTES_LITERAL("\0"));
    Etcdserverpb__TxnRequest inner = ETCDSERVERPB__TXN_REQUEST__INIT, outer = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__RequestOp ops[4], *list[4];
    for (size_t i = 0; i < 4; i++) {
        ops[i] = (Etcdserverpb__RequestOp)ETCDSERVERPB__REQUEST_OP__INIT;
        list[i] = &ops[i];
    }
    ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    ops[0].request_range = &range;
    ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[1].request_put = &put;
    ops[2].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    ops[2].request_delete_range = &deletion;
    ops[3].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    ops[3].request_txn = &inner;
    inner.n_success = 1;
    inner.success = list;
    outer.n_compare = 1;
    outer.compare = compares;
    outer.n_success = outer.n_failure = 4;
    outer.success = outer.failure = list;
    add_step(out, STEP_TXN, &outer.base);
}

static void add_reads(struct buf *out)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = range.range_end = message_binary(BYTES_LITERAL("\0"));
    for (int i = 0; i < 5; i++) {
        range.sort_target = i;
        range.sort_order = i % 3;
        range.limit = i;
        range.revision = 6 + i;
        range.keys_only = i % 2 == 0;
        add_step(out, STEP_RANGE, &range.base);
    }
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    compaction.revision = 7;
    add_step(out, STEP_COMPACT, &compaction.base);
}

bool fuzz_seed(size_t number, struct buf *out)
{
    if (number >= 3) return false;
    add_writes(out);
    if (number >= 1) add_reads(out);
    if (number >= 2) add_txn(out);
    add_txn(out);
    add_reads(out);
    return true;
}
