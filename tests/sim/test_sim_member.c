/* One member under random crashes: whatever was acknowledged is there after every restart, and nothing goes
 * back in time.
 *
 * A client keeps requests under way, remembers every acknowledged revision, and after each restart compares.
 * A write whose outcome it was never told may be there or not, but only as it was asked for. Failing seeds
 * print themselves: test_sim_member SEED repeats one. */
#include "api/message.h"
#include "base/text.h"
#include "sim/sim_member.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc.pb-c.h"

enum { KEYS = 24, UNDER_WAY_MAX = 32, WRITES_MAX = 200000, DEFAULT_SEEDS = 60, CRASHES_PER_SEED = 12 };

/* A write as the client knows it. */
struct write {
    unsigned key;
    uint64_t value;   /* 0: a delete */
    int64_t revision; /* 0: not told */
};

struct world {
    uint64_t seed;
    struct rng rng;
    struct fs_sim *disk;
    struct sim_member *member;
    int64_t now;
    struct write *writes;
    size_t write_count;
    unsigned under_way;
    int64_t highest_revision;
    uint64_t acknowledged, unknown, crashes, faults, faults_before, defragmented;
    /* A read for the comparison. */
    bool read_done;
    Etcdserverpb__RangeResponse *range;
    struct arena *arena;
};

struct call {
    struct node_request request;
    size_t write; /* WRITES_MAX: a read */
    struct buf raw;
    Etcdserverpb__PutRequest put;
    Etcdserverpb__DeleteRangeRequest delete;
    Etcdserverpb__RangeRequest range;
    char key[16], value[32];
};

static void __attribute__((noreturn, format(printf, 2, 3)))
fail(const struct world *world, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "seed %llu, t=%.3f s, crash %llu: ", (unsigned long long)world->seed,
            (double)world->now / 1e9, (unsigned long long)world->crashes);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    abort();
}

static void must(const struct world *world, struct error *error)
{
    if (error != NULL) fail(world, "%s", error->text);
}

/* ---- the client ---- */

static void submit(struct world *world, struct call *call, const ProtobufCMessage *message,
                   enum node_operation operation)
{
    message_pack(&call->raw, message);
    call->request.operation = operation;
    call->request.message = message;
    call->request.raw = buf_bytes(&call->raw);
    sim_member_submit(world->member, &call->request);
}

static void start_write(struct world *world)
{
    if (world->write_count == WRITES_MAX) return;
    struct call *call = mem_zalloc(1, sizeof(*call));
    unsigned key = (unsigned)rng_below(&world->rng, KEYS);
    bool is_delete = rng_chance(&world->rng, 1, 5);
    call->write = world->write_count++;
    world->writes[call->write] = (struct write){.key = key, .value = is_delete ? 0 : call->write + 1};
    snprintf(call->key, sizeof(call->key), "key%02u", key);
    world->under_way++;
    if (is_delete) {
        etcdserverpb__delete_range_request__init(&call->delete);
        call->delete.key = message_binary(bytes_from_string(call->key));
        submit(world, call, &call->delete.base, NODE_DELETE_RANGE);
    } else {
        snprintf(call->value, sizeof(call->value), "%llu", (unsigned long long)call->write + 1);
        etcdserverpb__put_request__init(&call->put);
        call->put.key = message_binary(bytes_from_string(call->key));
        call->put.value = message_binary(bytes_from_string(call->value));
        submit(world, call, &call->put.base, NODE_PUT);
    }
}

static void start_read(struct world *world)
{
    struct call *call = mem_zalloc(1, sizeof(*call));
    call->write = WRITES_MAX;
    etcdserverpb__range_request__init(&call->range);
    call->range.key = message_binary(BYTES_LITERAL("key"));
    call->range.range_end = message_binary(BYTES_LITERAL("kez"));
    world->read_done = false;
    submit(world, call, &call->range.base, NODE_RANGE);
}

static void take_write(struct world *world, const struct call *call)
{
    struct write *write = &world->writes[call->write];
    world->under_way--;
    if (call->request.error != API_OK || call->request.error_text != NULL) {
        world->unknown++;
        return;
    }
    /* Put and DeleteRange responses both begin with the header. */
    Etcdserverpb__PutResponse *response =
        (void *)message_unpack(&etcdserverpb__put_response__descriptor, blob_bytes(call->request.response),
                               world->arena, NULL);
    if (call->put.base.descriptor == NULL) {
        Etcdserverpb__DeleteRangeResponse *deleted =
            (void *)message_unpack(&etcdserverpb__delete_range_response__descriptor,
                                   blob_bytes(call->request.response), world->arena, NULL);
        write->revision = deleted->deleted > 0 ? deleted->header->revision : 0;
        if (deleted->deleted == 0) return;
    } else {
        write->revision = response->header->revision;
    }
    world->acknowledged++;
    if (write->revision > world->highest_revision) world->highest_revision = write->revision;
}

static void on_reply(void *context, struct node_request *request)
{
    struct world *world = context;
    struct call *call = (struct call *)request;
    if (call->write != WRITES_MAX) {
        take_write(world, call);
    } else if (request->error == API_OK && request->error_text == NULL) {
        world->range = (void *)message_unpack(&etcdserverpb__range_response__descriptor,
                                              blob_bytes(request->response), world->arena, NULL);
        world->read_done = true;
    }
    blob_unref(request->response);
    buf_deinit(&call->raw);
    free(call);
}

static void on_watch(void *context, struct watch_message *message)
{
    (void)context;
    watch_message_free(message);
}

/* ---- comparing ---- */

/* The acknowledged write of that key with the highest revision, NULL: none. */
static const struct write *newest_of(const struct world *world, unsigned key)
{
    const struct write *newest = NULL;
    for (size_t i = 0; i < world->write_count; i++) {
        const struct write *write = &world->writes[i];
        if (write->key == key && write->revision > 0 &&
            (newest == NULL || write->revision > newest->revision))
            newest = write;
    }
    return newest;
}

static bool was_asked_for(const struct world *world, unsigned key, uint64_t value)
{
    return value >= 1 && value <= world->write_count && world->writes[value - 1].key == key &&
           world->writes[value - 1].value == value;
}

static void compare_key(const struct world *world, unsigned key, const Mvccpb__KeyValue *found)
{
    const struct write *newest = newest_of(world, key);
    if (found == NULL) {
        /* Gone: by the newest write we know of, or by a delete that nobody told us about. */
        if (newest == NULL || newest->value == 0) return;
        for (size_t i = 0; i < world->write_count; i++)
            if (world->writes[i].key == key && world->writes[i].value == 0 && world->writes[i].revision == 0)
                return;
        fail(world, "key %u: revision %lld was acknowledged and is lost", key, (long long)newest->revision);
    }
    uint64_t value =
        strtoull((const char *)arena_string(world->arena, message_bytes(found->value)), NULL, 10);
    if (!was_asked_for(world, key, value))
        fail(world, "key %u holds %llu, which nobody wrote", key, (unsigned long long)value);
    if (newest != NULL && found->mod_revision < newest->revision)
        fail(world, "key %u is at revision %lld, %lld was acknowledged", key, (long long)found->mod_revision,
             (long long)newest->revision);
    if (newest != NULL && found->mod_revision == newest->revision && value != newest->value)
        fail(world, "key %u: another value than the one acknowledged at revision %lld", key,
             (long long)newest->revision);
}

static void step(struct world *world)
{
    int64_t next = sim_member_next(world->member);
    if (next > world->now) world->now = next;
    must(world, sim_member_run(world->member, world->now));
}

static void compare(struct world *world)
{
    arena_reset(world->arena);
    start_read(world);
    for (int tries = 0; !world->read_done; tries++) {
        if (tries > 100000) fail(world, "no answer to a read");
        step(world);
    }
    if (world->range->header->revision < world->highest_revision)
        fail(world, "the revision went back from %lld to %lld", (long long)world->highest_revision,
             (long long)world->range->header->revision);
    const Mvccpb__KeyValue *found[KEYS] = {0};
    for (size_t i = 0; i < world->range->n_kvs; i++) {
        char *key = arena_string(world->arena, message_bytes(world->range->kvs[i]->key));
        found[atoi(key + 3)] = world->range->kvs[i];
    }
    for (unsigned key = 0; key < KEYS; key++) compare_key(world, key, found[key]);
}

/* ---- one life: start, work, crash ---- */

/* How a life may end. */
enum ending {
    ENDS_ANY_TIME,   /* between two operations of the disk */
    ENDS_IN_A_WRITE, /* power fails at some operation */
    ENDS_BY_A_FAULT, /* an operation fails: the member must stop by itself */
};

static void plan_end(struct world *world, enum ending ending)
{
    static const int failures[] = {EIO, ENOSPC};
    if (ending == ENDS_IN_A_WRITE) fs_sim_cut_power_after(world->disk, rng_below(&world->rng, 60));
    if (ending != ENDS_BY_A_FAULT) return;
    struct fs_sim_fault fault = {
        .operations = FS_SIM_WRITE | FS_SIM_SYNC | FS_SIM_RENAME | FS_SIM_SYNC_DIRECTORY | FS_SIM_TRUNCATE,
        .skip = rng_below(&world->rng, 200),
        .times = 1,
        .system = failures[rng_below(&world->rng, 2)],
        .partial = rng_chance(&world->rng, 1, 2),
    };
    fs_sim_add_fault(world->disk, &fault);
}

/* True when the member ended by itself. */
static bool work(struct world *world, uint64_t rounds, bool until_it_fails)
{
    enum { ROUNDS_MAX = 100000 };
    for (uint64_t i = 0; i < rounds || (until_it_fails && i < ROUNDS_MAX); i++) {
        while (world->under_way < UNDER_WAY_MAX && rng_chance(&world->rng, 2, 3)) start_write(world);
        int64_t next = sim_member_next(world->member);
        if (next > world->now) world->now = next;
        struct error *error = sim_member_run(world->member, world->now);
        if (error == NULL && rng_chance(&world->rng, 1, 50)) error_free(sim_member_purge(world->member));
        if (error == NULL && rng_chance(&world->rng, 1, 60)) {
            error = sim_member_defragment(world->member);
            world->defragmented += error == NULL;
        }
        if (error == NULL) continue;
        error_free(error);
        return !sim_member_is_up(world->member);
    }
    return false;
}

static void live_and_die(struct world *world)
{
    enum ending ending = (enum ending)rng_below(&world->rng, 3);
    plan_end(world, ending);
    bool ended = work(world, rng_below(&world->rng, 400), ending != ENDS_ANY_TIME);
    if (ended && ending == ENDS_ANY_TIME) fail(world, "the member failed without a fault");
    world->faults += fs_sim_faults_struck(world->disk) - world->faults_before;
    world->faults_before = fs_sim_faults_struck(world->disk);
    fs_sim_clear_faults(world->disk);
    /* What a failed sync has lost stays readable until the power fails, so a fault is followed by that. */
    if (ending != ENDS_BY_A_FAULT && rng_chance(&world->rng, 1, 3))
        sim_member_kill(world->member);
    else
        sim_member_crash(world->member, rng_chance(&world->rng, 1, 2) ? FS_SIM_RANDOM : FS_SIM_LOSE_ALL);
    world->crashes++;
}

static void run_seed(uint64_t seed, uint64_t *acknowledged, uint64_t *unknown, uint64_t *faults,
                     uint64_t *defragmented)
{
    struct world world = {.seed = seed, .now = 1000000, .arena = arena_new()};
    rng_init(&world.rng, seed);
    world.writes = mem_zalloc(WRITES_MAX, sizeof(*world.writes));
    world.disk = fs_sim_new(&(const struct fs_sim_options){.seed = seed, .file_size = UINT64_C(1) << 34});
    struct sim_member_options options = {
        .seed = seed,
        .name = "m",
        .initial_cluster = "m=http://127.0.0.1:2380",
        .peer_urls = "http://127.0.0.1:2380",
        .snapshot_count = 20 + rng_below(&world.rng, 300),
        .wal_segment_size = 16384 + rng_below(&world.rng, 65536),
        .backend_batch_limit = 1 + rng_below(&world.rng, 200),
        .logger = &log_discard,
        .on_reply = on_reply,
        .on_watch = on_watch,
        .context = &world,
    };
    world.member = sim_member_new(&options, world.disk);
    for (int life = 0; life < CRASHES_PER_SEED; life++) {
        must(&world, sim_member_start(world.member, world.now));
        compare(&world);
        live_and_die(&world);
    }
    must(&world, sim_member_start(world.member, world.now));
    compare(&world);
    must(&world, sim_member_stop(world.member, world.now));
    *acknowledged += world.acknowledged;
    *unknown += world.unknown;
    *faults += world.faults;
    *defragmented += world.defragmented;
    sim_member_free(world.member);
    fs_sim_free(world.disk);
    arena_free(world.arena);
    free(world.writes);
}

int main(int argc, char **argv)
{
    uint64_t acknowledged = 0, unknown = 0, faults = 0, defragmented = 0;
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 1 ? 1 : DEFAULT_SEEDS;
    for (uint64_t seed = first; seed < first + count; seed++)
        run_seed(seed, &acknowledged, &unknown, &faults, &defragmented);
    printf(
        "%llu seeds, %llu crashes, %llu failed disk operations, %llu writes acknowledged and found, %llu of "
        "unknown outcome, %llu times defragmented\n",
        (unsigned long long)count, (unsigned long long)count * CRASHES_PER_SEED, (unsigned long long)faults,
        (unsigned long long)acknowledged, (unsigned long long)unknown, (unsigned long long)defragmented);
    return 0;
}
