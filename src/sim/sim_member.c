#include "sim/sim_member.h"

#include "bolt/bolt.h"
#include "member/image.h"
#include "member/log.h"
#include "member/member.h"
#include "storage/snap.h"

#include <assert.h>
#include <stdlib.h>

#define DATA_DIRECTORY "/member"
#define MILLISECOND    INT64_C(1000000)
#define TOKEN_TTL                                                                                            \
    (100000000 * MILLISECOND) /* longer than any run: what ends a token is to be something else */

enum { LONG_WRITES = 4 /* what is done to a whole database takes as long as so many writes */ };

/* A database that is read for another member, while this one goes on. */
struct reading {
    struct reading *next;
    struct raft_message message;
    struct backend_reader reader;
    int64_t done;
};

struct sim_member {
    struct sim_member_options options;
    struct node_limits limits;
    struct rng rng;
    struct fs_sim *disk;
    struct member member; /* while it is up */
    uint64_t id, cluster_id;
    struct member_log log;
    struct node_config config;
    struct node *node;
    struct node_ready ready;
    int64_t now;

    struct {
        struct mail *oldest, **end;
    } writes;                    /* log writes that wait */
    int64_t writes_done;         /* when those that are under way are durable; INT64_MAX: none */
    struct mail *writing;        /* the batch under way */
    struct backend_batch *batch; /* the commit under way */
    int64_t batch_done;

    /* The received database under way: first it gets its place, then the state is built from it. */
    uint64_t installing; /* its index; 0: none */
    bool is_in_place;
    int64_t install_step;  /* when the next of the two is done */
    uint64_t index_before; /* the backend's, that the state in memory still has */
    uint64_t installs, lives;

    struct reading *readings;
};

/* Not a digest to trust, but one that depends on everything: ids need only be distinct and stable. */
static void digest(struct bytes data, uint8_t out[20])
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < data.size; i++) hash = (hash ^ data.data[i]) * UINT64_C(1099511628211);
    memset(out, 0, 20);
    be64_put(out, hash);
}

struct sim_member *sim_member_new(const struct sim_member_options *options, struct fs_sim *disk)
{
    struct sim_member *member = mem_zalloc(1, sizeof(*member));
    member->options = *options;
    member->limits = options->limits != NULL ? *options->limits : node_limits_default();
    member->disk = disk;
    rng_init(&member->rng, options->seed);
    return member;
}

void sim_member_free(struct sim_member *member)
{
    if (member == NULL) return;
    assert(member->node == NULL);
    free(member);
}

bool sim_member_is_up(const struct sim_member *member)
{
    return member->node != NULL;
}

struct node *sim_member_node(struct sim_member *member)
{
    return member->node;
}

uint64_t sim_member_id(const struct sim_member *member)
{
    return member->id;
}

uint64_t sim_member_cluster_id(const struct sim_member *member)
{
    return member->cluster_id;
}

bool sim_member_is_removed(const struct sim_member *member)
{
    return member->node != NULL && member->ready.removed;
}

bool sim_member_was_removed(const struct sim_member *member)
{
    return member->ready.removed;
}

struct fs_sim *sim_member_disk(struct sim_member *member)
{
    return member->disk;
}

int64_t sim_member_now(const struct sim_member *member)
{
    return member->now;
}

uint64_t sim_member_consistent_index(const struct sim_member *member)
{
    return member->installing != 0 ? member->index_before : backend_consistent_index(member->member.backend);
}

uint64_t sim_member_installs(const struct sim_member *member)
{
    return member->installs;
}

bool sim_member_is_reading(const struct sim_member *member)
{
    return member->readings != NULL;
}

uint64_t sim_member_lives(const struct sim_member *member)
{
    return member->lives;
}

/* ---- start ---- */

static uint64_t wall_ms(int64_t now)
{
    return UINT64_C(1700000000000) + (uint64_t)(now / MILLISECOND);
}

static void configure(struct sim_member *member, struct node_config *config)
{
    static const char *const client_urls[] = {"http://127.0.0.1:2379"};
    *config = (struct node_config){
        .member_id = member->member.id,
        .cluster_id = member->member.cluster_id,
        .tick = 100 * MILLISECOND,
        .election_ticks = 10,
        .pre_vote = true,
        .snapshot_count = member->options.snapshot_count != 0 ? member->options.snapshot_count : 10000,
        .catch_up_entries = member->options.catch_up_entries != 0 ? member->options.catch_up_entries : 50,
        .backend_batch_interval = 100 * MILLISECOND,
        .backend_batch_limit =
            member->options.backend_batch_limit != 0 ? member->options.backend_batch_limit : 10000,
        .watch_progress_interval = member->options.watch_progress_interval != 0
                                       ? member->options.watch_progress_interval
                                       : 600000 * MILLISECOND,
        .limits = member->limits,
        .name = member->options.name,
        .client_urls = client_urls,
        .client_url_count = 1,
        .version = SIM_MEMBER_VERSION,
        .sha1 = digest,
        .simple_tokens = true,
        .token_ttl = TOKEN_TTL,
        .seed = rng_next(&member->rng),
        .lease_checkpoint_interval = member->options.lease_checkpoint_interval,
        .logger = member->options.logger,
    };
}

struct error *sim_member_start(struct sim_member *member, int64_t now)
{
    struct fs *fs = fs_sim_fs(member->disk);
    struct member_options open = {
        .name = member->options.name,
        .data_directory = DATA_DIRECTORY,
        .wal_directory = "",
        .initial_cluster = member->options.initial_cluster,
        .initial_cluster_token = "sim",
        .initial_advertise_peer_urls = member->options.peer_urls,
        .initial_cluster_exists = member->options.bootstrap != NULL,
        .bootstrap = member->options.bootstrap,
        .fs = fs,
        .logger = member->options.logger,
        .sha1 = digest,
        .wal_segment_size = member->options.wal_segment_size,
    };
    assert(member->node == NULL);
    TRY(member_open(&open, &member->member));
    member->id = member->member.id;
    member->cluster_id = member->member.cluster_id;
    configure(member, &member->config);
    member->now = now;
    struct error *error =
        node_new(&member->config, &member->member.recovery, now, wall_ms(now), &member->node);
    if (error != NULL) {
        error_free(member_close(&member->member));
        return error;
    }
    member->log = (struct member_log){
        .wal = member->member.wal,
        .snap = {.fs = fs, .logger = member->options.logger},
        .snap_directory = member->member.directory.snap,
    };
    member->writes.oldest = NULL;
    member->writing = NULL;
    member->batch = NULL;
    member->writes_done = member->batch_done = member->install_step = INT64_MAX;
    member->installing = 0;
    member->lives++;
    member->ready = (struct node_ready){.wake_at = now};
    return NULL;
}

/* ---- the disks ---- */

static int64_t some_time(struct sim_member *member, int64_t average)
{
    return 1 + (int64_t)rng_below(&member->rng, (uint64_t)average * 2);
}

static int64_t write_time(struct sim_member *member)
{
    return some_time(member, member->options.write_time != 0 ? member->options.write_time : MILLISECOND);
}

static int64_t long_time(struct sim_member *member, int64_t average)
{
    return average == 0 ? write_time(member) * LONG_WRITES : some_time(member, average);
}

static void begin_writing(struct sim_member *member)
{
    if (member->writing != NULL || member->writes.oldest == NULL) return;
    member->writing = member->writes.oldest;
    member->writes.oldest = NULL;
    member->writes_done = member->now + write_time(member);
}

/* The bytes reach the disk only at the end of the write's time: what a crash in between leaves is the disk's
 * to decide once they are there, and nothing before. After an error the member falls, and gives back what it
 * could not write only then: nobody may see it regarded as durable. */
static struct error *end_writing(struct sim_member *member)
{
    member->writes_done = INT64_MAX;
    TRY(member_log_write(&member->log, member->writing));
    struct mail *mail = member->writing;
    member->writing = NULL;
    while (mail != NULL) {
        struct node_log_write *write = (struct node_log_write *)(void *)mail;
        mail = mail->next;
        node_log_persisted(member->node, write);
    }
    return NULL;
}

static struct error *end_commit(struct sim_member *member)
{
    struct backend_batch *batch = member->batch;
    member->batch = NULL;
    member->batch_done = INT64_MAX;
    struct error *error = backend_commit(member->member.backend, batch);
    struct error *second = node_backend_committed(member->node, batch);
    if (error == NULL) return second;
    error_free(second);
    return error;
}

static void begin_install(struct sim_member *member)
{
    assert(member->batch == NULL && member->installing == 0);
    member->installing = member->ready.install;
    member->index_before = backend_consistent_index(member->member.backend);
    member->is_in_place = false;
    member->install_step = member->now + long_time(member, member->options.install_time);
}

static struct error *put_in_place(struct sim_member *member)
{
    char *path = snap_database_path(member->member.directory.snap, member->installing);
    struct error *error = backend_install(member->member.backend, path, member->installing);
    free(path);
    member->is_in_place = true;
    member->install_step = member->now + long_time(member, member->options.install_time);
    return error;
}

static struct error *continue_install(struct sim_member *member)
{
    struct node_state *state = NULL;
    if (!member->is_in_place) return put_in_place(member);
    TRY(node_state_open(&member->config, member->member.backend, &state));
    node_installed(member->node, state);
    node_state_free(state);
    member->installing = 0;
    member->install_step = INT64_MAX;
    member->installs++;
    return NULL;
}

static struct error *write_file(struct fs *fs, const char *path, struct bytes content)
{
    struct fs_file *file = NULL;
    TRY(fs_open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file));
    struct error *error = fs_file_pwrite(file, content.data, content.size, 0);
    struct error *second = fs_file_close(file);
    if (error == NULL) return second;
    error_free(second);
    return error;
}

struct error *sim_member_receive(struct sim_member *member, const struct raft_message *message,
                                 struct blob *image)
{
    const char *directory = member->member.directory.snap;
    struct fs *fs = member->log.snap.fs;
    char *path = mem_printf("%s/tmp%llu", directory, (unsigned long long)message->snapshot->index);
    struct error *error = write_file(fs, path, blob_bytes(image));
    if (error == NULL) error = member_check_image(fs, path, message->snapshot, member->options.logger);
    if (error == NULL)
        error = snap_receive_database(&member->log.snap, directory, path, message->snapshot->index);
    if (error != NULL) error_free(fs_remove(fs, path));
    free(path);
    if (error == NULL) error = node_message(member->node, message);
    member->ready.more = true;
    return error;
}

/* ---- running ---- */

static void take_replies(struct sim_member *member)
{
    for (struct mail *mail = member->ready.replies; mail != NULL;) {
        struct node_request *request = (struct node_request *)(void *)mail;
        mail = mail->next;
        member->options.on_reply(member->options.context, request);
    }
    for (struct mail *mail = member->ready.watch_messages; mail != NULL;) {
        struct watch_message *message = (struct watch_message *)(void *)mail;
        mail = mail->next;
        member->options.on_watch(member->options.context, message);
    }
    member->ready.replies = member->ready.watch_messages = NULL;
}

static void take_peer_messages(struct sim_member *member, bool send)
{
    for (struct mail *mail = member->ready.peer_messages; mail != NULL;) {
        struct node_peer_message *out = (struct node_peer_message *)(void *)mail;
        mail = mail->next;
        if (send) member->options.on_peer_message(member->options.context, &out->message);
        raft_message_deinit(&out->message);
        free(out);
    }
    member->ready.peer_messages = NULL;
}

static struct error *append_chunk(void *context, struct bytes chunk)
{
    buf_append_bytes(context, chunk);
    return NULL;
}

/* What is read is the state of now, however long that takes. */
static struct error *begin_reading(struct sim_member *member, struct raft_message *message, int64_t done)
{
    struct reading *reading = mem_zalloc(1, sizeof(*reading));
    uint64_t index = message->snapshot->index, found = 0;
    struct error *error = backend_read_begin(member->member.backend, &reading->reader);
    if (error != NULL) {
        free(reading);
        return error;
    }
    reading->message = raft_message_take(message);
    reading->done = done;
    reading->next = member->readings;
    member->readings = reading;
    TRY(backend_reader_index(&reading->reader, &found));
    if (found == index) return NULL;
    return error_new(ERROR_CORRUPT, "a snapshot at index %llu is to be sent with an image at %llu",
                     (unsigned long long)index, (unsigned long long)found);
}

static void reading_free(struct reading *reading)
{
    backend_read_end(&reading->reader);
    raft_message_deinit(&reading->message);
    free(reading);
}

static struct error *end_reading(struct sim_member *member, struct reading *reading)
{
    struct buf content = {0};
    struct error *error = bolt_write_to(reading->reader.tx, append_chunk, &content);
    if (error == NULL) {
        struct blob *image = blob_from(buf_bytes(&content));
        member->options.on_snapshot(member->options.context, &reading->message, image);
        blob_unref(image);
    }
    buf_deinit(&content);
    reading_free(reading);
    return error;
}

static struct error *end_readings(struct sim_member *member)
{
    for (struct reading **at = &member->readings; *at != NULL;) {
        struct reading *reading = *at;
        if (reading->done > member->now) {
            at = &reading->next;
            continue;
        }
        *at = reading->next;
        TRY(end_reading(member, reading));
    }
    return NULL;
}

static void drop_readings(struct sim_member *member)
{
    struct reading *reading;
    while ((reading = member->readings) != NULL) {
        member->readings = reading->next;
        reading_free(reading);
    }
}

static struct error *take_snapshots(struct sim_member *member, bool send)
{
    struct error *error = NULL;
    if (member->ready.snapshots == NULL) return NULL;
    int64_t done = member->now + long_time(member, member->options.read_time);
    for (struct mail *mail = member->ready.snapshots; mail != NULL;) {
        struct node_peer_message *out = (struct node_peer_message *)(void *)mail;
        mail = mail->next;
        if (send && error == NULL) error = begin_reading(member, &out->message, done);
        raft_message_deinit(&out->message);
        free(out);
    }
    member->ready.snapshots = NULL;
    return error;
}

static void append_writes(struct sim_member *member, struct mail *mail)
{
    if (mail == NULL) return;
    if (member->writes.oldest == NULL) member->writes.end = &member->writes.oldest;
    *member->writes.end = mail;
    while (mail->next != NULL) mail = mail->next;
    member->writes.end = &mail->next;
}

static struct error *collect(struct sim_member *member)
{
    node_collect(member->node, &member->ready);
    take_replies(member);
    append_writes(member, member->ready.log_writes);
    assert(member->ready.peer_messages == NULL || member->options.on_peer_message != NULL);
    take_peer_messages(member, true);
    TRY(take_snapshots(member, true));
    if (member->ready.batch != NULL) {
        member->batch = member->ready.batch;
        member->batch_done = member->now + write_time(member);
    }
    if (member->ready.install != 0) begin_install(member);
    if (member->ready.membership_changed && member->options.on_membership != NULL)
        member->options.on_membership(member->options.context);
    return NULL;
}

/* Lets go of everything in memory. What was under way is forgotten: its bytes were never written. */
static void fall(struct sim_member *member)
{
    node_stop(member->node);
    node_collect(member->node, &member->ready);
    take_replies(member);
    take_peer_messages(member, false);
    error_free(take_snapshots(member, false));
    append_writes(member, member->ready.log_writes);
    struct mail *lists[] = {member->writing, member->writes.oldest};
    for (size_t i = 0; i < 2; i++)
        for (struct mail *mail = lists[i]; mail != NULL;) {
            struct node_log_write *write = (struct node_log_write *)(void *)mail;
            mail = mail->next;
            node_log_persisted(member->node, write);
        }
    member->writing = member->writes.oldest = NULL;
    if (member->ready.batch != NULL) member->batch = member->ready.batch;
    if (member->batch != NULL) error_free(node_backend_committed(member->node, member->batch));
    /* Giving the writes back made answers to them. */
    node_collect(member->node, &member->ready);
    assert(member->ready.replies == NULL && member->ready.watch_messages == NULL);
    take_peer_messages(member, false);
    error_free(take_snapshots(member, false));
    drop_readings(member);
    node_free(member->node);
    member->node = NULL;
    member->member.recovery.log = NULL;
    error_free(member_close(&member->member));
}

static void power_off(struct sim_member *member)
{
    if (member->node == NULL) return;
    fs_sim_power_off(member->disk);
    fall(member);
}

int64_t sim_member_next(const struct sim_member *member)
{
    if (member->node == NULL) return INT64_MAX;
    if (member->ready.more) return member->now;
    int64_t next = member->ready.wake_at;
    if (member->writes_done < next) next = member->writes_done;
    if (member->batch_done < next) next = member->batch_done;
    if (member->install_step < next) next = member->install_step;
    for (const struct reading *reading = member->readings; reading != NULL; reading = reading->next)
        if (reading->done < next) next = reading->done;
    return next;
}

static struct error *run(struct sim_member *member)
{
    if (member->writes_done <= member->now) TRY(end_writing(member));
    if (member->batch_done <= member->now) TRY(end_commit(member));
    if (member->install_step <= member->now) TRY(continue_install(member));
    TRY(end_readings(member));
    TRY(node_run(member->node));
    TRY(collect(member));
    begin_writing(member);
    return NULL;
}

struct error *sim_member_run(struct sim_member *member, int64_t now)
{
    assert(member->node != NULL && now >= member->now);
    member->now = now;
    node_tick(member->node, now, wall_ms(now));
    struct error *error = run(member);
    if (error != NULL) power_off(member);
    return error;
}

struct error *sim_member_defragment(struct sim_member *member)
{
    bool is_fatal;
    struct error *error = backend_defragment(member->member.backend, &is_fatal);
    if (error == NULL) {
        error = node_backend_replaced(member->node);
        is_fatal = error != NULL;
    }
    if (is_fatal) power_off(member);
    return error;
}

void sim_member_submit(struct sim_member *member, struct node_request *request)
{
    node_submit(member->node, request);
    member->ready.more = true;
}

void sim_member_message(struct sim_member *member, const struct raft_message *message)
{
    error_free(node_message(member->node, message));
    member->ready.more = true;
}

void sim_member_wake(struct sim_member *member)
{
    member->ready.more = true;
}

void sim_member_set_write_time(struct sim_member *member, int64_t write_time)
{
    member->options.write_time = write_time;
}

struct error *sim_member_purge(struct sim_member *member)
{
    enum { MAX_WALS = 2, MAX_SNAPSHOTS = 2 };
    struct node_status status;
    node_status(member->node, &status);
    return member_purge(&member->member, MAX_WALS, MAX_SNAPSHOTS, status.applied);
}

/* ---- the end ---- */

void sim_member_crash(struct sim_member *member, enum fs_sim_crash_mode mode)
{
    power_off(member);
    fs_sim_crash(member->disk, mode);
}

void sim_member_kill(struct sim_member *member)
{
    power_off(member);
    fs_sim_kill(member->disk);
}

void sim_member_begin_stop(struct sim_member *member)
{
    node_stop(member->node);
}

bool sim_member_is_settled(struct sim_member *member)
{
    return member->writing == NULL && member->writes.oldest == NULL && member->batch == NULL &&
           backend_pending_operations(member->member.backend) == 0;
}

struct error *sim_member_stop(struct sim_member *member, int64_t now)
{
    sim_member_begin_stop(member);
    while (!sim_member_is_settled(member)) {
        TRY(sim_member_run(member, now));
        int64_t next = sim_member_next(member);
        if (next > now) now = next;
    }
    fall(member);
    return NULL;
}
