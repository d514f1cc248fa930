/* http1: HTTP/1.1 over a transport: the serving side, and a small client.
 *
 * Syntax is http_parser's. Serving: see http.h for handlers; requests of one connection are handled one after
 * the other (a pipelined request waits until the response before it is complete), so responses keep their
 * order. Limits: request line and headers HTTP1_HEADER_LIMIT bytes together (431 beyond), HTTP1_HEADERS_MAX
 * of them, five minutes for the headers to arrive.
 */
#ifndef NET_HTTP1_H
#define NET_HTTP1_H

#include "net/http.h"
#include "net/transport.h"

enum { HTTP1_HEADER_LIMIT = 1024 * 1024, HTTP1_HEADERS_MAX = 1024 };

/* The HTTP/1 connections of one loop. */
struct http1_server;

struct http1_server_config {
    int64_t header_timeout;      /* ns; 0: 5 minutes */
    int64_t idle_timeout;        /* ns between requests; 0: the header timeout */
    const struct logger *logger; /* NULL: log_discard */
};

struct http1_server *http1_server_new(struct loop *loop, const struct http1_server_config *config)
    __attribute__((returns_nonnull, warn_unused_result));
/* All connections must be gone. NULL is allowed. */
void http1_server_free(struct http1_server *server);
/* Serves a transport (taken), started or not; `first` are bytes already read from it. The router is borrowed.
 */
void http1_server_accept(struct http1_server *server, struct transport *transport, struct bytes first,
                         const struct http_router *router);
/* Idle connections are closed at once, busy ones after their response, all that is left after `drain`
 * nanoseconds (0: at once). */
void http1_server_close(struct http1_server *server, int64_t drain, void (*done)(void *context),
                        void *context);
size_t http1_server_connections(const struct http1_server *server);

/* ---- client ---- */

/* One connection to one address, made when needed and kept alive; requests run one after the other. */
struct http1_client;
struct http1_client_request;

struct http1_client_config {
    const char *address;                       /* "host:port", "unix:PATH"; copied */
    const char *host;                          /* Host header; NULL: the address; copied */
    const struct transport_security *security; /* NULL: plain; borrowed */
    const char *server_name;                   /* for TLS; NULL: the host of the address; copied */
    int64_t connect_timeout;                   /* ns; 0: 20 s */
};

struct http1_client *http1_client_new(struct loop *loop, const struct http1_client_config *config)
    __attribute__((returns_nonnull, warn_unused_result));
/* Connections begin at this numeric address of the host's from now on; copied. */
void http1_client_connect_from(struct http1_client *client, const char *local_address);
/* Nothing waits for a response. */
bool http1_client_is_idle(const struct http1_client *client);
/* Requests still waiting end with an error before this returns. NULL is allowed. */
void http1_client_free(struct http1_client *client);

struct http1_client_handler {
    /* Status and headers (names lower case), borrowed for the call. Optional. */
    void (*on_response)(struct http1_client_request *request, int status, const struct http_header *headers,
                        size_t count);
    /* Optional; without it the body is kept up to gather_limit. */
    void (*on_body)(struct http1_client_request *request, struct bytes piece);
    /* A streamed request body may go on: fewer than HTTP_SEND_LOW bytes wait. Optional. */
    void (*on_writable)(struct http1_client_request *request);
    /* Last, exactly once; the request's pointer is dead afterwards. error (borrowed) NULL: the response is
     * complete. */
    void (*on_done)(struct http1_client_request *request, const struct error *error);
};

struct http1_client_options {
    const char *method;                /* "GET"; copied */
    const char *target;                /* "/metrics"; copied */
    const struct http_header *headers; /* copied */
    size_t header_count;
    struct bytes body; /* copied; with stream_body: the first piece */
    bool stream_body;  /* more pieces follow by http1_client_send; sent chunked, or as it is when body_size is
                          known */
    int64_t body_size; /* with stream_body: the whole size when known, else -1 */
    int64_t deadline;  /* clock_monotonic() time; 0 or INT64_MAX: none */
    size_t gather_limit; /* bytes of the response's body that are kept; what is beyond is dropped */
    const struct http1_client_handler *handler; /* borrowed */
    void *context;
};

struct http1_client_request *http1_client_request(struct http1_client *client,
                                                  const struct http1_client_options *options)
    __attribute__((returns_nonnull));
void *http1_client_request_context(const struct http1_client_request *request);
/* Of the response; 0 before it came. */
int http1_client_request_status(const struct http1_client_request *request);
/* The gathered body, in on_done; borrowed for the call. */
struct bytes http1_client_request_body(const struct http1_client_request *request);
/* A piece of a streamed body (taken); returns the bytes that wait. */
size_t http1_client_send(struct http1_client_request *request, struct blob *piece);
void http1_client_send_end(struct http1_client_request *request);
/* on_done with ERROR_CANCELED before this returns; the connection is closed unless the request had not been
 * sent. */
void http1_client_cancel(struct http1_client_request *request);

#endif
