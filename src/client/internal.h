/* internal: what the files of the client share. Not for users of the library.
 *
 * Everything a client does on the wire is an operation: one RPC, from its start to its one end, with all
 * attempts. An operation waits for a login if one is needed and for a connection that is up, sends its
 * request, and is sent again if it may be. Unary calls, server streams, the watches' stream and the
 * keep-alives' stream are operations with different handlers.
 */
#ifndef CLIENT_INTERNAL_H
#define CLIENT_INTERNAL_H

#include "base/list.h"
#include "base/rng.h"
#include "client/client.h"
#include "client/endpoint.h"
#include "net/grpc_client.h"
#include "net/loop.h"
#include "net/tls.h"

struct operation;
TAILQ_HEAD(operation_list, operation);
struct login_request;
struct client_watch_hub;
struct keep_alive_hub;

struct operation_handler {
    /* CLIENT_BOTH_WAYS only: an attempt begins; send with operation_send. */
    void (*on_open)(struct operation *operation);
    /* The handler owns the arena, in which the message lies. */
    void (*on_message)(struct operation *operation, ProtobufCMessage *message, struct arena *arena);
    /* The last call; the operation's memory is the handler's again. NULL: the server ended it well (unary:
     * after on_message). The error is the handler's to free. */
    void (*on_end)(struct operation *operation, struct client_error *error);
};

/* One endpoint and its channel. */
struct connection {
    struct client *client;
    struct endpoint endpoint;
    struct grpc_channel *channel;
    bool balanced;                 /* one of the client's own endpoints, used by calls that are not pinned */
    struct operation_list waiting; /* pinned operations that wait for it to come up */
    LIST_ENTRY(connection) pinned; /* !balanced */
};

enum operation_state {
    OPERATION_LOGIN,  /* waits for the login to be over */
    OPERATION_WAIT,   /* waits for a connection */
    OPERATION_ACTIVE, /* sent */
    OPERATION_PAUSE,  /* between two attempts, or about to end with `failure` */
};

struct operation {
    struct client *client;
    const struct operation_handler *handler;
    const struct client_method *method;
    enum client_retry retry;
    enum operation_state state;
    LIST_ENTRY(operation) all;
    TAILQ_ENTRY(operation) waiting; /* OPERATION_LOGIN, OPERATION_WAIT */
    struct operation_list *queue;   /* that it waits in */
    struct buf request;
    int64_t deadline;
    bool require_leader;
    bool without_token; /* the login itself */
    struct connection *pinned;
    struct connection *used; /* by the present or last attempt */
    struct grpc_client_call *call;
    unsigned attempts;
    unsigned logins;
    uint64_t token_generation; /* of the token that was sent */
    bool got_message;
    bool paused;
    struct client_error *failure;
    struct loop_timer deadline_timer;
    struct loop_timer retry_timer;
};

struct client {
    struct loop *loop;
    const struct logger *logger;
    struct rng rng;
    struct connection **connections;
    size_t connection_count;
    size_t next;                               /* round robin */
    LIST_HEAD(, connection) others;            /* pinned calls' */
    struct grpc_channel_config channel_config; /* what all channels have in common */
    char *user, *password, *token;
    struct tls *tls;   /* NULL: nothing asks for it */
    char *server_name; /* what certificates must name; NULL: each its endpoint */
    uint64_t token_generation;
    bool may_log_in;           /* there are a user and a password */
    bool auth_disabled;        /* the server said so */
    struct client_call *login; /* under way */
    struct operation_list login_waiting;
    LIST_HEAD(, login_request) login_requests; /* of client_login */
    struct operation_list waiting;             /* for any connection */
    LIST_HEAD(, operation) operations;
    size_t max_send_bytes, max_receive_bytes;
    int64_t dial_timeout;
    struct client_watch_hub *watches;
    struct keep_alive_hub *keep_alives;
    bool closing;
};

/* Fills `operation` (zeroed by the caller) and begins. `request` may be NULL for CLIENT_BOTH_WAYS. */
void operation_start(struct operation *operation, struct client *client,
                     const struct operation_handler *handler, enum client_rpc rpc,
                     const ProtobufCMessage *request, const struct client_call_options *options);
/* on_end comes with "context canceled", later. */
void operation_cancel(struct operation *operation);
/* Ends now, without on_end; the memory is the caller's again. */
void operation_abandon(struct operation *operation);
/* One message on a CLIENT_BOTH_WAYS operation that is open. */
void operation_send(struct operation *operation, const ProtobufCMessage *message);
void operation_pause(struct operation *operation);
void operation_resume(struct operation *operation);

/* Whether operation_send may be called. */
bool operation_is_open(const struct operation *operation);
/* Lets the operations of a queue try again; ends them with copies of `error`. */
void operation_wake(struct operation_list *queue);
void operation_fail_all(struct operation_list *queue, const struct client_error *error);

/* The connection to an endpoint, one of the client's own or a new one; NULL with *error set. */
struct connection *client_connection_to(struct client *client, const char *endpoint,
                                        struct client_error **error);
/* Logs in with user and password, then wakes or fails login_waiting. Not while a login is under way. */
void client_login_begin(struct client *client);

/* The token no longer serves: the next operation logs in. */
void client_forget_token(struct client *client);
/* Whether a failed operation's error says that its token is not good (any more), and a login may help. */
bool client_error_wants_login(const struct client *client, const struct client_error *error);

/* Of client_free: every watch and keep-alive ends. */
void client_watch_hub_free(struct client_watch_hub *hub);
void keep_alive_hub_free(struct keep_alive_hub *hub);

#endif
