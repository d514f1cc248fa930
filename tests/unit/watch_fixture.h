/* watch_fixture: a store, a watch hub on it, and clients that keep what they are sent. */
#ifndef TESTS_WATCH_FIXTURE_H
#define TESTS_WATCH_FIXTURE_H

#include "base/arena.h"
#include "mvcc/watch.h"
#include "tests/unit/expect.h"

#include "rpc.pb-c.h"

#define SECOND INT64_C(1000000000)

enum { SLICE = 10000 }; /* how much one run of the hub reads */

struct world {
    struct backend *backend; /* a memory_backend */
    struct mvcc_store *store;
    struct watch_hub *hub;
    struct arena *arena; /* decoded responses */
    int64_t now;
};

/* What one client got. */
struct client {
    struct watch_stream *stream; /* NULL once the test has closed it */
    Etcdserverpb__WatchResponse **responses;
    size_t count, next; /* `next`: the first that was not expected yet */
    size_t undelivered; /* bytes */
    bool cut_off;
};

static const struct watch_options plain = {.seed = 1};

void world_init(struct world *world, const struct watch_options *options);
void world_deinit(struct world *world);
struct client *client_open(struct world *world);
void client_free(struct client *client);
/* A world with one client, for most tests. */
struct client *one_client(struct world *world, const struct watch_options *options);

/* A transaction tells the hub at its end. */
void txn_begin(struct world *world);
void put(struct world *world, const char *key, const char *value);
void delete_key(struct world *world, const char *key);
void txn_end(struct world *world);
/* A transaction of its own. */
void put_one(struct world *world, const char *key, const char *value);
void delete_one(struct world *world, const char *key);
/* A transaction that puts so many keys with values of that size. */
void put_large(struct world *world, int keys, size_t size);
void compact(struct world *world, int64_t revision);

/* `other`: a store that goes on from a copy of the world's, as another member's; without a hub. */
void fork_store(struct world *world, struct world *other);
/* The world goes on with the other's store, as after a snapshot of it; `other` is used up. */
void install(struct world *world, struct world *other);

struct watch_create want(const char *key, const char *range_end, int64_t start);
void watch(struct client *client, const char *key, const char *range_end, int64_t start);
/* Hands what the hub has made to its clients. */
void take(struct world *world);
/* Lets the hub make all it can and hands that out. */
void run(struct world *world);
/* The client reads all it was sent. */
void deliver(struct client *client);
/* Everything made and read until nothing moves any more. */
void settle(struct world *world, struct client *const *clients, size_t count);

/* The client's next response, as text:
 * #ID [created] [canceled] [compact=N] [fragment] rev=N [reason] [PUT k=v@M [was k=v@M]] [DEL k@M ...] */
void expect(struct client *client, const char *text);
void expect_nothing(const struct client *client);

#endif
