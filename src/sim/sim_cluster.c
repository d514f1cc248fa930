#include "sim/sim_cluster.h"

#include "base/buf.h"
#include "base/memory.h"
#include "member/member.h"
#include "raft/codec.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define FNV_BASIS UINT64_C(14695981039346656037)
#define FNV_PRIME UINT64_C(1099511628211)

#define TRANSFER_MAX (2 * INT64_C(1000000000)) /* that a database may take */

enum { NAME_SIZE = 24, URL_SIZE = 48, FIRST_PORT = 2380, INBOX_MAX = 4096 };

/* One place of the cluster. */
struct place {
    struct sim_cluster *cluster;
    size_t number;
    char name[NAME_SIZE], url[URL_SIZE];
    char *initial; /* what it joins with; NULL: it is there from the start */
    struct fs_sim *disk;
    struct sim_member *member;
    bool paused, clock_stopped;
    /* Its clock: local time `clock_local` was at `clock_at`, and it goes on from there at `clock_rate`. */
    int64_t clock_at, clock_local, clock_rate;
    /* Messages that arrived while it was paused, oldest first. */
    struct sim_packet *inbox;
    size_t inbox_count, inbox_capacity;
};

struct sim_cluster {
    struct sim_cluster_options options;
    struct rng rng;
    int64_t now;
    struct sim_network *network;
    struct buf initial_cluster;
    struct member_bootstrap bootstrap; /* of members that are added */
    struct place places[SIM_CLUSTER_MEMBERS_MAX];
    uint64_t events;
    uint64_t trace;
};

/* ---- what happened ---- */

static void digest(struct sim_cluster *cluster, uint64_t value)
{
    cluster->trace = (cluster->trace ^ value) * FNV_PRIME;
    cluster->trace ^= cluster->trace >> 29;
}

static void happen(struct sim_cluster *cluster, const struct sim_event *event)
{
    digest(cluster, (uint64_t)event->at);
    digest(cluster, (uint64_t)event->kind << 16 | event->member << 8 | event->peer);
    if (event->message != NULL) {
        const struct raft_message *message = event->message;
        digest(cluster, (uint64_t)message->type << 1 | message->reject);
        digest(cluster, message->term);
        digest(cluster, message->index);
        digest(cluster, message->commit);
        digest(cluster, message->entries.count);
    }
    if (cluster->options.on_event != NULL) cluster->options.on_event(cluster->options.context, event);
}

static void happen_to(struct sim_cluster *cluster, size_t member, enum sim_event_kind kind)
{
    happen(cluster,
           &(const struct sim_event){.at = cluster->now, .kind = kind, .member = member, .peer = member});
}

static void happen_between(const struct place *place, size_t peer, enum sim_event_kind kind,
                           const struct raft_message *message)
{
    happen(place->cluster, &(const struct sim_event){.at = place->cluster->now,
                                                     .kind = kind,
                                                     .member = place->number,
                                                     .peer = peer,
                                                     .message = message});
}

/* ---- clocks ---- */

static int64_t local_time(const struct place *place, int64_t now)
{
    if (place->clock_stopped) return place->clock_local;
    return place->clock_local + (now - place->clock_at) * place->clock_rate / SIM_CLOCK_RATE_ONE;
}

/* The first moment at which the member's clock shows `local`. */
static int64_t global_time(const struct place *place, int64_t local)
{
    if (local <= place->clock_local) return place->clock_at;
    int64_t scaled = (local - place->clock_local) * SIM_CLOCK_RATE_ONE;
    return place->clock_at + (scaled + place->clock_rate - 1) / place->clock_rate;
}

/* From now on the clock may go another way. */
static void mark_clock(struct place *place, int64_t now)
{
    place->clock_local = local_time(place, now);
    place->clock_at = now;
}

/* ---- what members send and answer ---- */

static void on_reply(void *context, struct node_request *request)
{
    struct place *place = context;
    struct sim_cluster *cluster = place->cluster;
    digest(cluster, (uint64_t)request->error);
    if (request->response != NULL) digest(cluster, request->response->size);
    cluster->options.on_reply(cluster->options.context, place->number, request);
}

static void on_watch(void *context, struct watch_message *message)
{
    struct place *place = context;
    digest(place->cluster, message->size);
    place->cluster->options.on_watch(place->cluster->options.context, place->number, message);
}

static void on_peer_message(void *context, const struct raft_message *message)
{
    struct place *place = context;
    struct sim_cluster *cluster = place->cluster;
    size_t to = sim_cluster_find(cluster, message->to);
    assert(to != place->number);
    struct node *node = sim_member_node(place->member);
    if (to == cluster->options.members) { /* it has never been up: nobody listens there */
        node_peer_unreachable(node, message->to);
        return;
    }
    happen_between(place, to, SIM_EVENT_SEND, message);
    if (sim_network_send(cluster->network, place->number, to, message, cluster->now) == SIM_UNREACHABLE)
        node_peer_unreachable(node, message->to);
}

static void on_snapshot(void *context, const struct raft_message *message, struct blob *image)
{
    struct place *place = context;
    struct sim_cluster *cluster = place->cluster;
    size_t to = sim_cluster_find(cluster, message->to);
    if (to == cluster->options.members) { /* see above */
        node_snapshot_reported(sim_member_node(place->member), message->to, false);
        return;
    }
    happen_between(place, to, SIM_EVENT_SEND, message);
    int64_t time = (int64_t)rng_below(&cluster->rng, (uint64_t)TRANSFER_MAX);
    sim_network_send_image(cluster->network, place->number, to, message, image,
                           sim_member_lives(place->member), time, cluster->now);
}

/* ---- life ---- */

static void introduce(struct sim_cluster *cluster, struct place *newcomer);

static void on_membership(void *context)
{
    struct place *place = context;
    introduce(place->cluster, place);
}

/* Its id is the one that a running member has for its address. */
static struct error *find_running(void *context, const struct cluster_initial *initial, const char *name,
                                  uint64_t *cluster_id, uint64_t *ids)
{
    struct sim_cluster *cluster = context;
    const char *url = cluster_initial_find(initial, name)->peer_urls.items[0];
    for (size_t i = 0; i < cluster->options.members; i++) {
        struct sim_member *running = cluster->places[i].member;
        if (!sim_member_is_up(running)) continue;
        const struct cluster *known = node_cluster(sim_member_node(running));
        for (size_t j = 0; j < cluster_member_count(known); j++) {
            const struct cluster_member *member = cluster_member_at(known, j);
            if (strcmp(member->peer_urls.items[0], url) != 0) continue;
            ids[0] = member->id;
            *cluster_id = sim_member_cluster_id(running);
            return NULL;
        }
    }
    return error_new(ERROR_NOT_FOUND, "nobody who is up knows a member at %s", url);
}

static void make_place(struct sim_cluster *cluster, size_t number)
{
    struct place *place = &cluster->places[number];
    place->cluster = cluster;
    place->number = number;
    place->clock_rate = SIM_CLOCK_RATE_ONE;
    snprintf(place->name, sizeof(place->name), "m%zu", number);
    place->disk = fs_sim_new(
        &(const struct fs_sim_options){.seed = rng_next(&cluster->rng), .file_size = UINT64_C(1) << 32});
}

static void make_member(struct place *place, const char *initial_cluster,
                        const struct member_bootstrap *bootstrap)
{
    struct sim_cluster *cluster = place->cluster;
    const struct sim_cluster_options *options = &cluster->options;
    struct sim_member_options member = {
        .seed = rng_next(&cluster->rng),
        .name = place->name,
        .initial_cluster = initial_cluster,
        .peer_urls = place->url,
        .bootstrap = bootstrap,
        .snapshot_count = options->snapshot_count,
        .wal_segment_size = options->wal_segment_size,
        .backend_batch_limit = options->backend_batch_limit,
        .catch_up_entries = options->catch_up_entries != 0 ? options->catch_up_entries : RAFT_POSITION_MAX,
        .lease_checkpoint_interval = options->lease_checkpoint_interval,
        .limits = options->limits,
        .watch_progress_interval = options->watch_progress_interval,
        .write_time = options->write_time,
        .read_time = options->read_time,
        .install_time = options->install_time,
        .logger = options->logger,
        .on_reply = on_reply,
        .on_watch = on_watch,
        .on_peer_message = on_peer_message,
        .on_snapshot = on_snapshot,
        .on_membership = on_membership,
        .context = place,
    };
    place->member = sim_member_new(&member, place->disk);
}

struct sim_cluster *sim_cluster_new(const struct sim_cluster_options *options)
{
    assert(options->members >= 1 && options->members <= SIM_CLUSTER_MEMBERS_MAX);
    struct sim_cluster *cluster = mem_zalloc(1, sizeof(*cluster));
    cluster->options = *options;
    cluster->trace = FNV_BASIS;
    cluster->bootstrap = (struct member_bootstrap){.find_running = find_running, .context = cluster};
    rng_init(&cluster->rng, options->seed);
    cluster->network = sim_network_new(rng_next(&cluster->rng), SIM_CLUSTER_MEMBERS_MAX, &options->link);
    for (size_t i = 0; i < SIM_CLUSTER_MEMBERS_MAX; i++)
        snprintf(cluster->places[i].url, URL_SIZE, "http://127.0.0.1:%zu", FIRST_PORT + i);
    for (size_t i = 0; i < options->members; i++) {
        make_place(cluster, i);
        buf_printf(&cluster->initial_cluster, "%s%s=%s", i == 0 ? "" : ",", cluster->places[i].name,
                   cluster->places[i].url);
    }
    const char *initial_cluster = buf_string(&cluster->initial_cluster);
    for (size_t i = 0; i < options->members; i++) make_member(&cluster->places[i], initial_cluster, NULL);
    return cluster;
}

const char *sim_cluster_url(const struct sim_cluster *cluster, size_t member)
{
    assert(member < SIM_CLUSTER_MEMBERS_MAX);
    return cluster->places[member].url;
}

size_t sim_cluster_add(struct sim_cluster *cluster)
{
    assert(cluster->options.members < SIM_CLUSTER_MEMBERS_MAX);
    struct place *place = &cluster->places[cluster->options.members];
    make_place(cluster, cluster->options.members);
    place->initial = mem_printf("%s=%s", place->name, place->url);
    make_member(place, place->initial, &cluster->bootstrap);
    return cluster->options.members++;
}

/* What became of a database that was sent; a copy of it does not count. */
static void report(struct sim_cluster *cluster, const struct sim_packet *packet, bool success)
{
    struct sim_member *sender = cluster->places[packet->from].member;
    if (packet->image == NULL || packet->is_copy) return;
    if (!sim_member_is_up(sender) || sim_member_lives(sender) != packet->tag) return;
    node_snapshot_reported(sim_member_node(sender), sim_member_id(cluster->places[packet->to].member),
                           success);
    sim_member_wake(sender);
}

/* `lost`: nobody has looked at what is in it. */
static void empty_inbox(struct place *place, bool lost)
{
    for (size_t i = 0; i < place->inbox_count; i++) {
        if (lost) report(place->cluster, &place->inbox[i], false);
        sim_packet_deinit(&place->inbox[i]);
    }
    place->inbox_count = 0;
}

void sim_cluster_free(struct sim_cluster *cluster)
{
    if (cluster == NULL) return;
    for (size_t i = 0; i < cluster->options.members; i++) {
        struct place *place = &cluster->places[i];
        if (sim_member_is_up(place->member)) sim_member_crash(place->member, FS_SIM_LOSE_ALL);
        sim_member_free(place->member);
        fs_sim_free(place->disk);
        empty_inbox(place, false);
        free(place->inbox);
        free(place->initial);
    }
    sim_network_free(cluster->network);
    buf_deinit(&cluster->initial_cluster);
    free(cluster);
}

/* ---- events ---- */

static void fail(struct place *place, struct error *error)
{
    struct sim_cluster *cluster = place->cluster;
    happen(cluster, &(const struct sim_event){.at = cluster->now,
                                              .kind = SIM_EVENT_FAIL,
                                              .member = place->number,
                                              .peer = place->number,
                                              .text = error->text});
    error_free(error);
}

static void run_member(struct place *place)
{
    struct sim_cluster *cluster = place->cluster;
    struct error *error = sim_member_run(place->member, local_time(place, cluster->now));
    if (error != NULL) {
        fail(place, error);
        return;
    }
    happen_to(cluster, place->number, SIM_EVENT_RUN);
    if (!sim_member_is_removed(place->member)) return;
    error = sim_cluster_stop(cluster, place->number);
    if (error != NULL) fail(place, error);
}

/* Those who know that the sender was removed do not listen to it. */
static bool is_from_removed(const struct place *place, const struct sim_packet *packet)
{
    return cluster_is_removed(node_cluster(sim_member_node(place->member)),
                              sim_member_id(place->cluster->places[packet->from].member));
}

static void receive(struct place *place, const struct sim_packet *packet, const struct raft_message *message)
{
    struct sim_cluster *cluster = place->cluster;
    struct error *error = sim_network_link(cluster->network, packet->from, packet->to)->cut
                              ? error_new(ERROR_IO, "the connection broke")
                              : sim_member_receive(place->member, message, packet->image);
    happen(cluster,
           &(const struct sim_event){.at = cluster->now,
                                     .kind = SIM_EVENT_RECEIVE,
                                     .member = place->number,
                                     .peer = packet->from,
                                     .message = message,
                                     .text = error == NULL ? NULL : error->text,
                                     .is_damaged = error_is(error, ERROR_CORRUPT) && !packet->is_cut_short});
    report(cluster, packet, error == NULL);
    error_free(error);
}

static void hand_over(struct place *place, const struct sim_packet *packet)
{
    struct raft_message message = {0};
    struct error *error = raft_decode_message(&message, blob_bytes(packet->bytes));
    assert(error == NULL);
    if (packet->image != NULL) {
        receive(place, packet, &message);
        raft_message_deinit(&message);
        return;
    }
    happen_between(place, packet->from, SIM_EVENT_DELIVER, &message);
    sim_member_message(place->member, &message);
    raft_message_deinit(&message);
}

/* What does not fit any more is lost. */
static void keep_for_later(struct place *place, const struct sim_packet *packet)
{
    if (place->inbox_count == INBOX_MAX) {
        report(place->cluster, packet, false);
        return;
    }
    if (place->inbox_count == place->inbox_capacity) {
        place->inbox_capacity = place->inbox_capacity == 0 ? 64 : 2 * place->inbox_capacity;
        place->inbox = mem_realloc(place->inbox, place->inbox_capacity * sizeof(*place->inbox));
    }
    place->inbox[place->inbox_count] = *packet;
    blob_ref(packet->bytes);
    if (packet->image != NULL) blob_ref(packet->image);
    place->inbox_count++;
}

static void refuse(struct sim_cluster *cluster, const struct sim_packet *packet)
{
    struct place *sender = &cluster->places[packet->from];
    happen(cluster, &(const struct sim_event){.at = cluster->now,
                                              .kind = SIM_EVENT_REFUSE,
                                              .member = packet->to,
                                              .peer = packet->from});
    report(cluster, packet, false);
    if (!sim_member_is_up(sender->member)) return;
    node_peer_unreachable(sim_member_node(sender->member), sim_member_id(cluster->places[packet->to].member));
    sim_member_wake(sender->member);
}

static void deliver(struct sim_cluster *cluster)
{
    struct sim_packet packet;
    bool taken = sim_network_take(cluster->network, cluster->now, &packet);
    assert(taken);
    struct place *place = &cluster->places[packet.to];
    if (!sim_member_is_up(place->member) || is_from_removed(place, &packet))
        refuse(cluster, &packet);
    else if (place->paused)
        keep_for_later(place, &packet);
    else
        hand_over(place, &packet);
    sim_packet_deinit(&packet);
}

int64_t sim_cluster_now(const struct sim_cluster *cluster)
{
    return cluster->now;
}

static int64_t next_of(const struct place *place)
{
    if (place->paused || !sim_member_is_up(place->member)) return INT64_MAX;
    int64_t next = global_time(place, sim_member_next(place->member));
    return next > place->cluster->now ? next : place->cluster->now;
}

/* The member that is due first; NULL: the network is. */
static struct place *next_place(const struct sim_cluster *cluster, int64_t *at)
{
    const struct place *first = NULL;
    *at = sim_network_next(cluster->network);
    for (size_t i = 0; i < cluster->options.members; i++) {
        int64_t next = next_of(&cluster->places[i]);
        if (next >= *at) continue;
        *at = next;
        first = &cluster->places[i];
    }
    return (struct place *)(uintptr_t)first;
}

int64_t sim_cluster_next(const struct sim_cluster *cluster)
{
    int64_t at;
    (void)next_place(cluster, &at);
    return at;
}

bool sim_cluster_step(struct sim_cluster *cluster, int64_t until)
{
    int64_t at;
    struct place *place = next_place(cluster, &at);
    if (at > until) {
        if (until > cluster->now) cluster->now = until;
        return false;
    }
    if (at > cluster->now) cluster->now = at;
    cluster->events++;
    if (place != NULL)
        run_member(place);
    else
        deliver(cluster);
    return true;
}

uint64_t sim_cluster_events(const struct sim_cluster *cluster)
{
    return cluster->events;
}

uint64_t sim_cluster_trace(const struct sim_cluster *cluster)
{
    return cluster->trace;
}

uint64_t sim_cluster_installs(const struct sim_cluster *cluster)
{
    uint64_t installs = 0;
    for (size_t i = 0; i < cluster->options.members; i++)
        installs += sim_member_installs(cluster->places[i].member);
    return installs;
}

/* ---- members ---- */

size_t sim_cluster_members(const struct sim_cluster *cluster)
{
    return cluster->options.members;
}

static struct place *place_at(struct sim_cluster *cluster, size_t member)
{
    assert(member < cluster->options.members);
    return &cluster->places[member];
}

struct sim_member *sim_cluster_member(struct sim_cluster *cluster, size_t member)
{
    return place_at(cluster, member)->member;
}

bool sim_cluster_is_up(const struct sim_cluster *cluster, size_t member)
{
    assert(member < cluster->options.members);
    return sim_member_is_up(cluster->places[member].member);
}

bool sim_cluster_is_paused(const struct sim_cluster *cluster, size_t member)
{
    assert(member < cluster->options.members);
    return cluster->places[member].paused;
}

size_t sim_cluster_find(const struct sim_cluster *cluster, uint64_t id)
{
    for (size_t i = 0; i < cluster->options.members; i++)
        if (sim_member_id(cluster->places[i].member) == id) return i;
    return cluster->options.members;
}

/* Members learn each other's version when they connect; connections are not simulated. */
static void introduce(struct sim_cluster *cluster, struct place *newcomer)
{
    for (size_t i = 0; i < cluster->options.members; i++) {
        struct place *other = &cluster->places[i];
        if (other == newcomer || sim_member_id(other->member) == 0) continue;
        node_peer_version(sim_member_node(newcomer->member), sim_member_id(other->member),
                          SIM_MEMBER_VERSION);
        if (sim_member_is_up(other->member))
            node_peer_version(sim_member_node(other->member), sim_member_id(newcomer->member),
                              SIM_MEMBER_VERSION);
    }
}

struct error *sim_cluster_start(struct sim_cluster *cluster, size_t member)
{
    struct place *place = place_at(cluster, member);
    assert(!sim_member_is_up(place->member));
    TRY(sim_member_start(place->member, local_time(place, cluster->now)));
    introduce(cluster, place);
    happen_to(cluster, member, SIM_EVENT_START);
    return NULL;
}

/* A member that goes down is no longer paused, and nothing waits for it. */
static void goes_down(struct place *place)
{
    mark_clock(place, place->cluster->now);
    place->paused = place->clock_stopped = false;
    empty_inbox(place, true);
}

void sim_cluster_crash(struct sim_cluster *cluster, size_t member, enum fs_sim_crash_mode mode)
{
    struct place *place = place_at(cluster, member);
    sim_member_crash(place->member, mode);
    goes_down(place);
    happen_to(cluster, member, SIM_EVENT_CRASH);
}

void sim_cluster_kill(struct sim_cluster *cluster, size_t member)
{
    struct place *place = place_at(cluster, member);
    sim_member_kill(place->member);
    goes_down(place);
    happen_to(cluster, member, SIM_EVENT_CRASH);
}

struct error *sim_cluster_stop(struct sim_cluster *cluster, size_t member)
{
    struct place *place = place_at(cluster, member);
    sim_cluster_resume(cluster, member);
    int64_t now = local_time(place, cluster->now);
    sim_member_begin_stop(place->member);
    while (!sim_member_is_settled(place->member)) {
        TRY(sim_member_run(place->member, now));
        happen_to(cluster, member, SIM_EVENT_RUN);
        int64_t next = sim_member_next(place->member);
        if (next > now) now = next;
    }
    TRY(sim_member_stop(place->member, now));
    goes_down(place);
    /* Stopping took time by its own clock, which never goes back. */
    place->clock_local = sim_member_now(place->member);
    happen_to(cluster, member, SIM_EVENT_STOP);
    return NULL;
}

void sim_cluster_pause(struct sim_cluster *cluster, size_t member, bool clock_stops)
{
    struct place *place = place_at(cluster, member);
    assert(sim_member_is_up(place->member));
    if (place->paused) return;
    mark_clock(place, cluster->now);
    place->paused = true;
    place->clock_stopped = clock_stops;
    happen_to(cluster, member, SIM_EVENT_PAUSE);
}

void sim_cluster_resume(struct sim_cluster *cluster, size_t member)
{
    struct place *place = place_at(cluster, member);
    if (!place->paused) return;
    mark_clock(place, cluster->now);
    place->paused = place->clock_stopped = false;
    happen_to(cluster, member, SIM_EVENT_RESUME);
    for (size_t i = 0; i < place->inbox_count; i++) hand_over(place, &place->inbox[i]);
    empty_inbox(place, false);
}

void sim_cluster_set_clock_rate(struct sim_cluster *cluster, size_t member, int64_t rate)
{
    struct place *place = place_at(cluster, member);
    assert(rate > 0);
    mark_clock(place, cluster->now);
    place->clock_rate = rate;
}

struct sim_network *sim_cluster_network(struct sim_cluster *cluster)
{
    return cluster->network;
}

void sim_cluster_submit(struct sim_cluster *cluster, size_t member, struct node_request *request)
{
    sim_member_submit(place_at(cluster, member)->member, request);
}
