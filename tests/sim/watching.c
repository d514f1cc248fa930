/* Watchers: streams with one to three watchers each, which resume elsewhere when their member goes down. */
#include "workload_internal.h"

#include <assert.h>
#include <stdio.h>

static bool chance(struct follower *follower, uint64_t numerator, uint64_t denominator)
{
    return rng_chance(&follower->rng, numerator, denominator);
}

static int64_t some_time(struct follower *follower, int64_t most)
{
    return 1 + (int64_t)rng_below(&follower->rng, (uint64_t)most);
}

static size_t number_of(const struct workload *workload, const struct follower *follower)
{
    return (size_t)(follower - workload->followers);
}

/* ---- who there is ---- */

static void choose_keys(struct follower *follower, size_t number)
{
    struct sim_watcher *watcher = &follower->watchers[number];
    unsigned first = (unsigned)rng_below(&follower->rng, KEYS);
    snprintf(follower->keys[number], sizeof(follower->keys[number]), "k%02u", first);
    snprintf(follower->ends[number], sizeof(follower->ends[number]), "k%02u",
             first + 1 + (unsigned)rng_below(&follower->rng, 4));
    watcher->key = bytes_from_string(follower->keys[number]);
    switch (rng_below(&follower->rng, 4)) {
    case 0:
        watcher->range_end = BYTES_EMPTY;
        break;
    case 1:
        watcher->range_end = bytes_from_string(follower->ends[number]);
        break;
    default:
        watcher->key = BYTES_LITERAL("k");
        watcher->range_end = BYTES_LITERAL("l");
    }
}

static void choose_watcher(struct follower *follower, size_t number)
{
    struct sim_watcher *watcher = &follower->watchers[number];
    choose_keys(follower, number);
    watcher->id = (int64_t)number + 1;
    watcher->prev_kv = chance(follower, 1, 2);
    watcher->no_put = chance(follower, 1, 12);
    watcher->no_delete = !watcher->no_put && chance(follower, 1, 12);
    /* From the beginning, from now on, or from some time to come. */
    static const int64_t starts[] = {1, 0, 0};
    watcher->next = chance(follower, 1, 4) ? 20 + (int64_t)rng_below(&follower->rng, 400)
                                           : starts[rng_below(&follower->rng, 3)];
}

void followers_init(struct workload *workload, struct rng *rng)
{
    size_t count = 2 + (size_t)rng_below(rng, FOLLOWERS - 1);
    for (size_t i = 0; i < FOLLOWERS; i++) {
        struct follower *follower = &workload->followers[i];
        rng_init(&follower->rng, rng_next(rng));
        follower->wake_at = i < count ? some_time(follower, 2 * SECOND) : INT64_MAX;
        follower->count = 1 + (size_t)rng_below(&follower->rng, FOLLOWER_WATCHERS);
        for (size_t k = 0; k < follower->count; k++) choose_watcher(follower, k);
    }
}

/* ---- asking ---- */

static void send_request(struct workload *workload, struct follower *follower,
                         const Etcdserverpb__WatchRequest *request)
{
    struct sim_member *member = sim_cluster_member(workload->cluster, follower->member);
    node_watch_request(sim_member_node(member), follower->stream, &(const struct node_identity){0}, request);
    sim_member_wake(member);
}

static void create_watcher(struct workload *workload, struct follower *follower, struct sim_watcher *watcher)
{
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest__FilterType filters[] = {
        watcher->no_put ? ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT
                        : ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE};
    watcher->created = watcher->canceled = false;
    create.watch_id = watcher->id;
    create.key = message_binary(watcher->key);
    create.range_end = message_binary(watcher->range_end);
    create.start_revision = watcher->next;
    create.progress_notify = true;
    create.prev_kv = watcher->prev_kv;
    create.n_filters = watcher->no_put || watcher->no_delete ? 1 : 0;
    create.filters = filters;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    world_tell(workload->world, "watcher %zu.%lld asks m%zu: [%.*s, %.*s) from %lld",
               number_of(workload, follower), (long long)watcher->id, follower->member,
               (int)watcher->key.size, (const char *)watcher->key.data, (int)watcher->range_end.size,
               (const char *)watcher->range_end.data, (long long)watcher->next);
    send_request(workload, follower, &request);
}

/* It may begin anew at any revision that is not compacted. */
static void rewind_some(struct workload *workload, struct follower *follower)
{
    int64_t compacted = sim_model_compact_revision(sim_checker_model(workload->checker));
    for (size_t i = 0; i < follower->count; i++)
        if (compacted > 0 && chance(follower, 1, 4))
            follower->watchers[i].next = compacted + (int64_t)rng_below(&follower->rng, 3);
}

static void begin_following(struct workload *workload, struct follower *follower)
{
    follower->member = workload_choose_member(workload, &follower->rng);
    if (follower->member == sim_cluster_members(workload->cluster)) return;
    struct node *node = sim_member_node(sim_cluster_member(workload->cluster, follower->member));
    follower->stream = node_watch_open(node, follower);
    follower->undelivered = 0;
    rewind_some(workload, follower);
    for (size_t i = 0; i < follower->count; i++) create_watcher(workload, follower, &follower->watchers[i]);
}

static void ask_progress(struct workload *workload, struct follower *follower)
{
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress;
    world_tell(workload->world, "watcher %zu asks m%zu for progress", number_of(workload, follower),
               follower->member);
    send_request(workload, follower, &request);
}

static void stop_following(struct workload *workload, struct follower *follower)
{
    node_watch_close(sim_member_node(sim_cluster_member(workload->cluster, follower->member)),
                     follower->stream);
    follower->stream = NULL;
}

/* ---- what it does when it is its turn ---- */

/* Everything that came has been read: the stream may be fed again. */
static void read_on(struct workload *workload, struct follower *follower)
{
    struct sim_member *member = sim_cluster_member(workload->cluster, follower->member);
    node_watch_delivered(sim_member_node(member), follower->stream, follower->undelivered);
    sim_member_wake(member);
    follower->undelivered = 0;
}

static bool any_canceled(const struct follower *follower)
{
    for (size_t i = 0; i < follower->count; i++)
        if (follower->watchers[i].canceled) return true;
    return false;
}

static void follow(struct workload *workload, struct follower *follower)
{
    uint32_t line = LINE_FOLLOWERS + (uint32_t)number_of(workload, follower);
    /* In the end everybody must come to know everything: that is no choice. */
    bool made =
        workload->quiet || plan_begin(workload->world->plan, line, follower->number++, &follower->rng);
    /* Some read nothing for long. */
    int64_t pause = chance(follower, 1, 25) ? 6 * SECOND : 800 * MILLISECOND;
    if (workload->quiet) pause = 50 * MILLISECOND;
    follower->wake_at = sim_cluster_now(workload->cluster) + some_time(follower, pause);
    if (follower->stream != NULL) read_on(workload, follower);
    if (!made) return;
    if (follower->stream == NULL)
        begin_following(workload, follower);
    else if (any_canceled(follower) || (!workload->quiet && chance(follower, 1, 20)))
        stop_following(workload, follower);
    else if (chance(follower, 1, 3))
        ask_progress(workload, follower);
}

void followers_run(struct workload *workload)
{
    int64_t now = sim_cluster_now(workload->cluster);
    for (size_t i = 0; i < FOLLOWERS; i++)
        if (workload->followers[i].wake_at <= now) follow(workload, &workload->followers[i]);
}

/* ---- what it is told ---- */

static void tell_response(struct workload *workload, const struct follower *follower,
                          const Etcdserverpb__WatchResponse *response)
{
    if (!workload->world->plan->tells) return;
    struct buf *text = &workload->text;
    buf_clear(text);
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__Event *event = response->events[i];
        bool deleted = event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
        buf_printf(text, " %s%.*s@%lld", deleted ? "-" : "", (int)event->kv->key.len,
                   (const char *)event->kv->key.data, (long long)event->kv->mod_revision);
    }
    const char *kind = response->created         ? "created"
                       : response->canceled      ? "canceled"
                       : response->n_events == 0 ? "progress"
                                                 : "events";
    world_tell(workload->world, "watcher %zu.%lld is told by m%zu: %s, revision %lld %s",
               number_of(workload, follower), (long long)response->watch_id, follower->member, kind,
               (long long)response->header->revision, buf_string(text));
}

void workload_watch(struct workload *workload, size_t member, struct watch_message *message)
{
    struct follower *follower = message->owner;
    assert(follower->stream != NULL && follower->member == member);
    sim_checker_observe(workload->checker, member);
    buf_clear(&workload->bytes);
    buf_append(&workload->bytes, message->head, message->head_size);
    for (size_t i = 0; i < message->part_count; i++)
        buf_append_bytes(&workload->bytes, blob_bytes(message->parts[i]));
    arena_reset(workload->arena);
    const Etcdserverpb__WatchResponse *response =
        (const void *)message_unpack(&etcdserverpb__watch_response__descriptor, buf_bytes(&workload->bytes),
                                     workload->arena, NULL);
    if (response == NULL) {
        sim_checker_fail(workload->checker, "a watch response cannot be decoded");
    } else {
        tell_response(workload, follower, response);
        sim_checker_watch(workload->checker, follower->watchers, follower->count, response);
    }
    workload->counts.watch_responses++;
    follower->undelivered += message->size;
    watch_message_free(message);
}

void workload_event(struct workload *workload, const struct sim_event *event)
{
    if (event->kind != SIM_EVENT_CRASH && event->kind != SIM_EVENT_FAIL && event->kind != SIM_EVENT_STOP)
        return;
    for (size_t i = 0; i < FOLLOWERS; i++)
        if (workload->followers[i].member == event->member) workload->followers[i].stream = NULL;
}

void workload_check_watchers(struct workload *workload)
{
    for (size_t i = 0; i < FOLLOWERS; i++) {
        const struct follower *follower = &workload->followers[i];
        if (follower->wake_at == INT64_MAX) continue;
        for (size_t k = 0; k < follower->count; k++)
            if (follower->watchers[k].created)
                sim_checker_watch_complete(workload->checker, &follower->watchers[k]);
    }
}
