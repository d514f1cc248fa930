/* contest: what the Lock and Election services are made of: the recipes of etcd's client library, run inside
 * the server, on behalf of a client's call.
 *
 * Who wants a lock or to lead puts a key "NAME/LEASE" (lease in hex) under its lease and waits until no older
 * key is left under "NAME/". All of that goes by local calls with the metadata of the client's call, so that
 * its rights are those of the client, and nothing waits but a watch.
 *
 * A contest belongs to one call of a client. It has at most one local call under way: a unary one or a watch.
 * Every failure of one ends the client's call with code Unknown and the same text, as etcd's do, whose errors
 * pass through its own client; but who observes an election is told of none. Loop thread only.
 */
#ifndef SERVER_CONTEST_H
#define SERVER_CONTEST_H

#include "api/errors.h"
#include "net/grpc_server.h"

#include "rpc.pb-c.h"

struct contest;

/* A local call's answer, borrowed for the call. */
typedef void contest_next(struct contest *contest, const void *response);

struct contest {
    struct grpc_call *call;  /* the client's; NULL once it is over */
    struct arena *arena;     /* the call's: for what lives as long as it and does not grow */
    struct bytes prefix;     /* "NAME/" */
    struct bytes prefix_end; /* the range's end for all keys under it */
    struct bytes key;        /* "NAME/LEASE" */
    struct bytes value;      /* of an election */
    struct bytes client_key; /* whoever leads already says which key is theirs */
    int64_t lease;
    int64_t revision;                    /* the key's create revision */
    Etcdserverpb__ResponseHeader header; /* to be answered with */
    bool fails_silently;                 /* the call then ends as if it had come to its end */
    void (*won)(struct contest *contest);
    /* The client has gone, or waiting failed (its error is told afterwards). May be NULL. */
    void (*lost)(struct contest *contest, bool gone);

    /* Private. */
    struct grpc_call *inner;
    const ProtobufCMessageDescriptor *response;
    contest_next *next, *begun;
    struct buf answer;
    bool is_watch;
};

/* Makes the contest of a call for a name; its lease is `lease`. Freed with the call by the handlers below. */
struct contest *contest_new(struct grpc_call *call, struct bytes name, int64_t lease)
    __attribute__((returns_nonnull));
/* Handlers of the methods that have one. */
void contest_on_writable(struct grpc_call *call);
void contest_on_cancel(struct grpc_call *call);
void contest_on_close(struct grpc_call *call);

/* Grants a lease for 60 s when the contest has none (0), sets the key, and goes on with `next` (whose
 * response is NULL). */
void contest_begin(struct contest *contest, contest_next *next);

/* Local calls: of etcdserverpb.KV, by the name of the method. */
void contest_range(struct contest *contest, const Etcdserverpb__RangeRequest *request, contest_next *next);
void contest_txn(struct contest *contest, const Etcdserverpb__TxnRequest *request, contest_next *next);
void contest_delete(struct contest *contest, struct bytes key, contest_next *next);
/* `next` gets every WatchResponse that is no refusal, until contest_stop. */
void contest_watch(struct contest *contest, struct bytes key, struct bytes range_end, int64_t revision,
                   contest_next *next);
/* Gives up what is under way. */
void contest_stop(struct contest *contest);

/* Waits until no key under the prefix is older than the contest's, then calls `won`. */
void contest_wait(struct contest *contest);

/* Deletes the key, if its create revision is the contest's. */
void contest_delete_own(struct contest *contest, contest_next *next);
/* The same, sent with nobody waiting for the answer: what a client that has gone leaves behind. */
void contest_delete_behind(struct contest *contest);

/* Ends the client's call. */
void contest_fail(struct contest *contest, struct bytes text);
void contest_fail_with(struct contest *contest, enum api_error error);
void contest_reply(struct contest *contest, const ProtobufCMessage *response);
/* One message of a stream; the watch under way stops while the client does not read. */
void contest_send(struct contest *contest, const ProtobufCMessage *response);

/* ---- parts of requests ---- */

/* The oldest key under the prefix. */
void contest_oldest(struct contest *contest, Etcdserverpb__RangeRequest *request);
/* "The key was created at that revision"; 0: there is no such key. */
void contest_created_at(Etcdserverpb__Compare *compare, struct bytes key, int64_t revision);
/* The first key of the range in a txn's response `index`; NULL when there is none. */
const Mvccpb__KeyValue *contest_first_key(const Etcdserverpb__TxnResponse *response, size_t index);

/* For tests: "NAME/LEASE". */
void contest_append_key(struct buf *out, struct bytes name, int64_t lease);

#endif
