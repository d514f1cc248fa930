/* service: what the gRPC services share, and the table of all methods.
 *
 * One file per service (service_kv.c, service_watch.c, ...) exports its methods; service_methods() is the
 * whole table, which is the same for every loop's server.
 */
#ifndef SERVER_SERVICE_H
#define SERVER_SERVICE_H

#include "net/grpc_server.h"
#include "node/node.h"
#include "server/engine.h"

#include <stdatomic.h>

/* What calls find through grpc_call_server_context(). */
struct watch_message;

struct service_context {
    struct engine *engine;
    struct backend *backend; /* readers and defragmentation only */
    const struct logger *logger;
    atomic_uint snapshots, defragments; /* under way */
    struct call_observer *observer;
    struct helper_pool *helpers;
    const struct token_provider *tokens;
    unsigned bcrypt_cost;
    bool client_cert_auth;   /* the common name in a verified certificate is a user */
    bool stop_on_defragment; /* clients that ask for the health are sent elsewhere meanwhile */
    size_t queue_limit;      /* tasks waiting for the node beyond which requests are refused */
};

extern const struct grpc_method *const service_kv_methods[];
extern const struct grpc_method *const service_watch_methods[];
extern const struct grpc_method *const service_lease_methods[];
extern const struct grpc_method *const service_cluster_methods[];
extern const struct grpc_method *const service_maintenance_methods[];
extern const struct grpc_method *const service_auth_methods[];
extern const struct grpc_method *const service_health_methods[];
extern const struct grpc_method *const service_lock_methods[];
extern const struct grpc_method *const service_election_methods[];
/* Rows of service_maintenance_methods. */
extern const struct grpc_method service_snapshot_method, service_defragment_method;

/* The engine's on_watch (node thread): a watch response finds its stream. */
void service_watch_on_message(void *context, struct watch_message *message);

/* All of them, in a stable order. */
const struct grpc_method *const *service_methods(size_t *count);

/* The interceptor of every call: metadata that etcd looks at before the handler. */
void service_intercept(struct grpc_call *call);
/* The end of every call, for its statistics. */
void service_observe(struct grpc_call *call, enum grpc_code code, struct bytes text);

/* ---- unary methods that the node answers ---- */

/* grpc_method.extra of such a method. */
struct service_unary {
    enum node_operation operation;
    const void *descriptor; /* ProtobufCMessageDescriptor of the request */
};
void service_unary_message(struct grpc_call *call, struct bytes message);
void service_unary_cancel(struct grpc_call *call);

#define SERVICE_UNARY(service_, name_, operation_, descriptor_)                                              \
    (&(const struct grpc_method){                                                                            \
        .service = (service_),                                                                               \
        .name = (name_),                                                                                     \
        .kind = GRPC_UNARY,                                                                                  \
        .on_message = service_unary_message,                                                                 \
        .on_cancel = service_unary_cancel,                                                                   \
        .extra = &(const struct service_unary){(operation_), &(descriptor_)},                                \
    })

/* Decodes a request message into the call's arena; on failure finishes the call with grpc-go's text and
 * returns NULL. */
void *service_decode(struct grpc_call *call, const void *descriptor, struct bytes message);
/* The same into another arena: a stream may live for years, and its call's arena grows only. */
struct arena;
void *service_decode_into(struct grpc_call *call, struct arena *arena, const void *descriptor,
                          struct bytes message);

#endif
