/* gateway: etcd's JSON gateway: the gRPC services as POST requests with JSON bodies, under /v3/.
 *
 * The body of a request is the method's request message in protobuf's JSON mapping (api/json.h), for Watch
 * and LeaseKeepAlive a sequence of them; streams answer with one line per message, {"result":...}, or
 * {"error":...} at the end. Paths, status codes and texts are those of etcd 3.6, whose gateway is made of
 * grpc-gateway's second generation and Go's protojson.
 *
 * A request becomes a local call (net/grpc_server.h) of the server of its own loop: the same method table,
 * interceptors, limits and metrics as for gRPC, without a socket in between. Metadata: Authorization,
 * Grpc-Metadata-X as x, Grpc-Timeout as the deadline, Accept as grpcgateway-accept.
 *
 * Nobody makes it hold memory: a body is read up to its limit, values of a stream one by one as the method
 * takes them, and a method is stopped while the client does not read (HTTP_SEND_HIGH).
 *
 * A websocket on the same paths carries the lines of the request's body and of the response as text messages
 * (gateway_websocket.c).
 */
#ifndef SERVER_GATEWAY_H
#define SERVER_GATEWAY_H

#include "net/grpc_server.h"
#include "net/http.h"
#include "server/http_endpoints.h"

/* For routes with prefix "/v3/" and "/v3beta/" of a router whose context is a struct http_endpoints with
 * grpc set. */
extern const struct http_handler gateway_handler;

/* ---- for its own files and for tests ---- */

struct gateway_route {
    const char *path;   /* behind the prefix: "kv/put" */
    const char *method; /* "/etcdserverpb.KV/Put" */
    enum grpc_kind kind;
    const void *request, *response; /* ProtobufCMessageDescriptor */
};

/* All of them; the end has no path. */
extern const struct gateway_route gateway_routes[];
const struct gateway_route *gateway_find_route(struct bytes path);

#endif
