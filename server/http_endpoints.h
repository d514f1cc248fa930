/* http_endpoints: what the server answers over plain HTTP: /version, /health, /livez, /readyz, /metrics,
 * /debug and the JSON gateway (gateway.h). What comes by names that --host-whitelist does not have, or from
 * origins that --cors does not have, is kept away on client ports. */
#ifndef SERVER_HTTP_ENDPOINTS_H
#define SERVER_HTTP_ENDPOINTS_H

#include "base/list.h"
#include "net/http.h"
#include "server/engine.h"
#include "server/metrics.h"

struct grpc_server;
struct gateway_limit;
struct gateway_websocket;

/* The router's context; on client ports one for each loop. */
struct http_endpoints {
    struct engine *engine;
    struct metrics_sources *metrics;
    const char *version;
    const struct logger *logger;
    const char *host_whitelist; /* comma list; "*": all */
    const char *cors;           /* comma list; "*": all */
    bool enable_pprof;
    bool enable_gateway;
    struct grpc_server *grpc;                  /* whom the gateway calls: the loop's; client ports only */
    size_t receive_limit;                      /* bytes of a request message */
    struct gateway_limit *gateway_limit;       /* of all loops; NULL: none */
    bool client_cert_auth;                     /* certificates name users */
    LIST_HEAD(, gateway_websocket) websockets; /* of the loop */
};

/* For client ports; for metrics ports (no /version). `endpoints` is borrowed. */
void http_endpoints_client_router(struct http_router *router, struct http_endpoints *endpoints);
void http_endpoints_metrics_router(struct http_router *router, struct http_endpoints *endpoints);
/* Answers 405 to all but GET; false when it has. */
bool http_endpoints_only_get(struct http_exchange *exchange);
/* Pages of that origin may talk to this server: it is listed, or there is no list. */
bool http_endpoints_allows_origin(const struct http_endpoints *endpoints, struct bytes origin);
/* Appends what /version answers, for who serves it elsewhere. Any thread. */
void http_endpoints_version(struct buf *out, const struct http_endpoints *endpoints);

#endif
