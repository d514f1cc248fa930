/* Maintenance.Snapshot and Maintenance.Defragment: the calls that work on the whole of the backend's file.
 *
 * Both first let the node commit what it has applied (NODE_SETTLE). Then helper threads of the loop's pool do
 * the reading and writing, in portions; the loop's thread only hands over:
 *
 *     Snapshot     rpc ─▶ read transaction ─▶ portion read ─▶ sent ─┬─▶ portion read ... ─▶ SHA-256 ─▶ end
 *                                                                  └─ when much waits unsent: on_writable
 *     Defragment   rpc ─▶ backend_defragment ─▶ the node moves its reads to the new file ─▶ answer
 *
 * A snapshot takes the memory of two portions however large the file and slow the client. */
#include "server/service.h"

#include "base/buf.h"
#include "base/container.h"
#include "base/memory.h"
#include "base/wire.h"
#include "bolt/bolt.h"
#include "server/identity.h"
#include "server/rpc.h"
#include "storage/backend.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "rpc.pb-c.h"

enum {
    CHUNK_SIZE = 32 * 1024, /* of each message but the last of the file */
    PORTION_CHUNKS = 4,
    DIGEST_SIZE = 32,
    SNAPSHOTS_MAX = 16, /* at a time, all clients together */
    DEFRAGMENTS_MAX = 2,
    FIELD_REMAINING = 2,
    FIELD_BLOB = 3,
    FIELD_VERSION = 4,
};

static bool enter(atomic_uint *running, unsigned most)
{
    if (atomic_fetch_add(running, 1) < most) return true;
    atomic_fetch_sub(running, 1);
    return false;
}

static void refuse(struct grpc_call *call)
{
    grpc_call_finish(call, api_error_code(API_ERROR_TOO_MANY_REQUESTS),
                     bytes_from_string(api_error_text(API_ERROR_TOO_MANY_REQUESTS)));
}

static void settle(struct rpc *rpc, struct grpc_call *call, void (*done)(struct rpc *rpc), void *context)
{
    const struct service_context *service = grpc_call_server_context(call);
    rpc->request.operation = NODE_SETTLE;
    identity_of_call(call, grpc_call_arena(call), &rpc->request.identity);
    rpc->loop = grpc_call_loop(call);
    rpc->done = done;
    rpc->context = context;
    rpc_start(rpc, service->engine);
}

/* ---- Snapshot ---- */

struct snapshot {
    struct service_context *service;
    bool entered;           /* counts among those under way */
    struct grpc_call *call; /* a reference */
    struct rpc rpc;
    bool settling;   /* the rpc is out */
    bool working;    /* the helper has the fields below */
    bool is_waiting; /* for on_writable */
    bool closed;     /* on_close has been called */
    int64_t began;

    struct backend_reader reader;
    uint64_t size;
    uint64_t offset; /* of the next portion */
    EVP_MD_CTX *digest;
    struct blob *version; /* field 4 of every message; its text is at version_text */
    char *version_text;
    uv_work_t work;
    struct blob *chunks[PORTION_CHUNKS];
    size_t chunk_count;
    struct error *error;
};

static void free_when_over(struct snapshot *snapshot)
{
    if (!snapshot->closed || snapshot->settling || snapshot->working) return;
    if (snapshot->reader.tx != NULL) backend_read_end(&snapshot->reader);
    EVP_MD_CTX_free(snapshot->digest);
    blob_unref(snapshot->version);
    free(snapshot->version_text);
    error_free(snapshot->error);
    if (snapshot->entered) atomic_fetch_sub(&snapshot->service->snapshots, 1);
    grpc_call_unref(snapshot->call);
    free(snapshot);
}

/* Helper thread. */
static void read_portion(uv_work_t *work)
{
    struct snapshot *snapshot = CONTAINER(work, struct snapshot, work);
    for (size_t i = 0; i < PORTION_CHUNKS && snapshot->offset < snapshot->size; i++) {
        uint64_t left = snapshot->size - snapshot->offset;
        size_t size = left < CHUNK_SIZE ? (size_t)left : CHUNK_SIZE, read;
        struct blob *chunk = blob_new(size);
        snapshot->error = bolt_image_read(snapshot->reader.tx, snapshot->offset, chunk->data, size, &read);
        if (snapshot->error != NULL) {
            blob_unref(chunk);
            return;
        }
        assert(read == size);
        EVP_DigestUpdate(snapshot->digest, chunk->data, size);
        snapshot->chunks[snapshot->chunk_count++] = chunk;
        snapshot->offset += size;
    }
}

static size_t send_chunk(struct snapshot *snapshot, struct blob *chunk, uint64_t remaining)
{
    struct buf head = {0};
    wire_uint_field_nonzero(&head, FIELD_REMAINING, remaining);
    wire_tag(&head, FIELD_BLOB, WIRE_LENGTH);
    wire_varint(&head, chunk->size);
    struct grpc_part parts[] = {
        grpc_part_of_blob(blob_from(buf_bytes(&head))),
        grpc_part_of_blob(chunk),
        grpc_part_of_blob(blob_ref(snapshot->version)),
    };
    buf_deinit(&head);
    return grpc_call_send(snapshot->call, parts, sizeof(parts) / sizeof(parts[0]));
}

/* Returns the most that waited unsent. */
static size_t send_portion(struct snapshot *snapshot)
{
    size_t most = 0;
    uint64_t remaining = snapshot->size - snapshot->offset;
    for (size_t i = 0; i < snapshot->chunk_count; i++) remaining += snapshot->chunks[i]->size;
    for (size_t i = 0; i < snapshot->chunk_count; i++) {
        remaining -= snapshot->chunks[i]->size;
        size_t waiting = send_chunk(snapshot, snapshot->chunks[i], remaining);
        if (waiting > most) most = waiting;
    }
    snapshot->chunk_count = 0;
    return most;
}

static void finish_snapshot(struct snapshot *snapshot)
{
    const struct logger *logger = snapshot->service->logger;
    int64_t took = clock_monotonic() - snapshot->began;
    struct blob *digest = blob_new(DIGEST_SIZE);
    EVP_DigestFinal_ex(snapshot->digest, digest->data, NULL);
    log_info(logger, "sending database sha256 checksum to client", LOG_UINT("total-bytes", snapshot->size),
             LOG_INT("checksum-size", DIGEST_SIZE));
    send_chunk(snapshot, digest, 0);
    log_info(logger, "successfully sent database snapshot to client", LOG_UINT("total-bytes", snapshot->size),
             LOG_SIZE("size", snapshot->size), LOG_DURATION("took", took),
             LOG_STRING("storage-version", snapshot->version_text));
    metric_observe(&backend_metrics(snapshot->service->backend)->snapshot, (uint64_t)took);
    grpc_call_finish(snapshot->call, GRPC_OK, BYTES_EMPTY);
}

static void portion_is_read(uv_work_t *work, int status);

static void begin_portion(struct snapshot *snapshot)
{
    snapshot->working = true;
    int failure = uv_queue_work(loop_uv(grpc_call_loop(snapshot->call)), &snapshot->work, read_portion,
                                portion_is_read);
    assert(failure == 0);
}

static void portion_is_read(uv_work_t *work, int status)
{
    struct snapshot *snapshot = CONTAINER(work, struct snapshot, work);
    (void)status;
    snapshot->working = false;
    if (snapshot->closed) {
        for (size_t i = 0; i < snapshot->chunk_count; i++) blob_unref(snapshot->chunks[i]);
        free_when_over(snapshot);
        return;
    }
    size_t waiting = send_portion(snapshot);
    if (snapshot->error != NULL) {
        log_error(snapshot->service->logger, "failed to read the backend for a snapshot",
                  LOG_STRING("error", snapshot->error->text));
        grpc_call_fail(snapshot->call, GRPC_UNKNOWN, "%s", snapshot->error->text);
    } else if (snapshot->offset == snapshot->size) {
        finish_snapshot(snapshot);
    } else if (waiting >= GRPC_SEND_HIGH) {
        snapshot->is_waiting = true;
    } else {
        begin_portion(snapshot);
    }
}

static void take_version(struct snapshot *snapshot, struct blob *version)
{
    struct buf field = {0};
    struct bytes text = blob_bytes(version);
    if (text.size > 0) wire_bytes_field(&field, FIELD_VERSION, text);
    snapshot->version = blob_from(buf_bytes(&field));
    snapshot->version_text = mem_printf("%.*s", (int)text.size, (const char *)text.data);
    buf_deinit(&field);
    blob_unref(version);
}

/* The transaction may see a commit or two more than was asked for: any committed state will do. */
static void begin_sending(struct snapshot *snapshot)
{
    struct error *error = backend_read_begin(snapshot->service->backend, &snapshot->reader);
    if (error != NULL) {
        grpc_call_fail(snapshot->call, GRPC_UNKNOWN, "%s", error->text);
        error_free(error);
        return;
    }
    snapshot->size = bolt_size(snapshot->reader.tx);
    snapshot->digest = EVP_MD_CTX_new();
    EVP_DigestInit_ex(snapshot->digest, EVP_sha256(), NULL);
    log_info(snapshot->service->logger, "sending database snapshot to client",
             LOG_UINT("total-bytes", snapshot->size), LOG_SIZE("size", snapshot->size),
             LOG_STRING("storage-version", snapshot->version_text));
    begin_portion(snapshot);
}

static void snapshot_is_settled(struct rpc *rpc)
{
    struct snapshot *snapshot = rpc->context;
    snapshot->settling = false;
    bool is_good = rpc->request.error == API_OK;
    if (is_good) take_version(snapshot, rpc->request.response);
    if (snapshot->closed) {
        free_when_over(snapshot);
        return;
    }
    /* Only now: who may not have one takes no place. */
    snapshot->entered = is_good && enter(&snapshot->service->snapshots, SNAPSHOTS_MAX);
    if (snapshot->entered)
        begin_sending(snapshot);
    else if (is_good)
        refuse(snapshot->call);
    else
        grpc_call_finish(snapshot->call, rpc_code(&rpc->request), bytes_from_string(rpc_text(&rpc->request)));
}

static void snapshot_on_message(struct grpc_call *call, struct bytes message)
{
    struct service_context *service = grpc_call_server_context(call);
    if (service_decode(call, &etcdserverpb__snapshot_request__descriptor, message) == NULL) return;
    struct snapshot *snapshot = mem_zalloc(1, sizeof(*snapshot));
    snapshot->service = service;
    snapshot->call = grpc_call_ref(call);
    snapshot->began = clock_monotonic();
    snapshot->settling = true;
    grpc_call_set_context(call, snapshot);
    settle(&snapshot->rpc, call, snapshot_is_settled, snapshot);
}

static void snapshot_on_writable(struct grpc_call *call)
{
    struct snapshot *snapshot = grpc_call_context(call);
    if (snapshot == NULL || !snapshot->is_waiting) return;
    snapshot->is_waiting = false;
    begin_portion(snapshot);
}

static void snapshot_on_cancel(struct grpc_call *call)
{
    struct snapshot *snapshot = grpc_call_context(call);
    if (snapshot != NULL && snapshot->settling) rpc_cancel(&snapshot->rpc);
}

static void snapshot_on_close(struct grpc_call *call)
{
    struct snapshot *snapshot = grpc_call_context(call);
    if (snapshot == NULL) return;
    snapshot->closed = true;
    free_when_over(snapshot);
}

const struct grpc_method service_snapshot_method = {
    .service = "etcdserverpb.Maintenance",
    .name = "Snapshot",
    .kind = GRPC_SERVER_STREAM,
    .on_message = snapshot_on_message,
    .on_writable = snapshot_on_writable,
    .on_cancel = snapshot_on_cancel,
    .on_close = snapshot_on_close,
};

/* ---- Defragment ---- */

/* Goes on when the client has left: what was begun is ended. */
struct defragment {
    struct service_context *service;
    struct grpc_call *call; /* a reference */
    struct loop *loop;
    struct rpc rpc;
    bool entered; /* counts among those under way */
    uv_work_t work;
    struct error *error;
    bool is_fatal;
    struct engine_task replaced;
    struct loop_task moved;
};

static void free_defragment(struct defragment *defragment)
{
    if (defragment->entered) atomic_fetch_sub(&defragment->service->defragments, 1);
    error_free(defragment->error);
    grpc_call_unref(defragment->call);
    free(defragment);
}

static void end_defragment(struct defragment *defragment)
{
    if (defragment->error == NULL) {
        log_info(defragment->service->logger, "finished defragment");
        grpc_call_reply(defragment->call, blob_new(0));
    } else {
        log_error(defragment->service->logger, "failed to defragment",
                  LOG_STRING("error", defragment->error->text));
        grpc_call_fail(defragment->call, GRPC_UNKNOWN, "%s", defragment->error->text);
    }
    free_defragment(defragment);
}

/* Helper thread: nobody reads the old file any more, unless a snapshot is being sent. */
static void close_old_file(uv_work_t *work)
{
    struct defragment *defragment = CONTAINER(work, struct defragment, work);
    backend_close_replaced(defragment->service->backend);
}

static void old_file_is_closed(uv_work_t *work, int status)
{
    (void)status;
    end_defragment(CONTAINER(work, struct defragment, work));
}

static void reads_have_moved(struct loop *loop, struct loop_task *task)
{
    struct defragment *defragment = CONTAINER(task, struct defragment, moved);
    int failure = uv_queue_work(loop_uv(loop), &defragment->work, close_old_file, old_file_is_closed);
    assert(failure == 0);
}

/* Node thread. */
static void move_reads(struct engine *engine, struct node *node, struct engine_task *task)
{
    struct defragment *defragment = CONTAINER(task, struct defragment, replaced);
    struct error *error = node_backend_replaced(node);
    if (error != NULL) engine_fail(engine, error);
    loop_post(defragment->loop, &defragment->moved);
}

/* Helper thread. */
static void run_defragment(uv_work_t *work)
{
    struct defragment *defragment = CONTAINER(work, struct defragment, work);
    defragment->error = backend_defragment(defragment->service->backend, &defragment->is_fatal);
}

static void defragment_has_run(uv_work_t *work, int status)
{
    struct defragment *defragment = CONTAINER(work, struct defragment, work);
    (void)status;
    if (defragment->is_fatal)
        engine_fail(defragment->service->engine,
                    error_new(defragment->error->kind, "%s", defragment->error->text));
    if (defragment->error == NULL)
        engine_post(defragment->service->engine, &defragment->replaced);
    else
        end_defragment(defragment);
}

static void defragment_is_settled(struct rpc *rpc)
{
    struct defragment *defragment = rpc->context;
    if (rpc->request.error != API_OK) {
        grpc_call_finish(defragment->call, rpc_code(&rpc->request),
                         bytes_from_string(rpc_text(&rpc->request)));
        free_defragment(defragment);
        return;
    }
    blob_unref(rpc->request.response);
    defragment->entered = enter(&defragment->service->defragments, DEFRAGMENTS_MAX);
    if (!defragment->entered) {
        refuse(defragment->call);
        free_defragment(defragment);
        return;
    }
    log_info(defragment->service->logger, "starting defragment");
    int failure =
        uv_queue_work(loop_uv(defragment->loop), &defragment->work, run_defragment, defragment_has_run);
    assert(failure == 0);
}

static void defragment_on_message(struct grpc_call *call, struct bytes message)
{
    struct service_context *service = grpc_call_server_context(call);
    if (service_decode(call, &etcdserverpb__defragment_request__descriptor, message) == NULL) return;
    struct defragment *defragment = mem_zalloc(1, sizeof(*defragment));
    defragment->service = service;
    defragment->call = grpc_call_ref(call);
    defragment->loop = grpc_call_loop(call);
    defragment->replaced.run = move_reads;
    defragment->moved.run = reads_have_moved;
    settle(&defragment->rpc, call, defragment_is_settled, defragment);
}

const struct grpc_method service_defragment_method = {
    .service = "etcdserverpb.Maintenance",
    .name = "Defragment",
    .kind = GRPC_UNARY,
    .on_message = defragment_on_message,
};
