/* Connecting: resolve, then try each address in turn. */
#include "base/container.h"
#include "base/memory.h"
#include "net/address.h"
#include "net/transport.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

enum { ADDRESSES_MAX = 16 };

struct target {
    struct sockaddr_storage address;
    socklen_t size;
};

struct transport_connect {
    struct loop *loop;
    void (*done)(void *context, struct transport *transport, struct error *error);
    void *context;
    char *host;
    struct target targets[ADDRESSES_MAX];
    size_t target_count, next;
    struct target local; /* where connections begin; size 0: anywhere */
    struct error *error; /* the first failure: it is the one reported, as in Go */
    uv_getaddrinfo_t resolve;
    uv_poll_t poll;
    int descriptor; /* -1: none */
    bool connected; /* descriptor is, and waits for the poll handle to go */
    bool resolving, polling, closing_poll;
    bool canceled; /* or timed out: `done` has been called or must not be */
    struct loop_timer timeout;
    struct loop_deferred later;
};

static void try_next(struct transport_connect *connect);

static void connect_free(struct transport_connect *connect)
{
    assert(!connect->resolving && !connect->polling && !connect->closing_poll);
    loop_timer_clear(connect->loop, &connect->timeout);
    loop_defer_cancel(connect->loop, &connect->later);
    if (connect->descriptor >= 0) close(connect->descriptor);
    error_free(connect->error);
    free(connect->host);
    free(connect);
}

static void note_failure(struct transport_connect *connect, const struct target *target, const char *reason)
{
    if (connect->error != NULL) return;
    char *text = address_text(&target->address, target->size);
    connect->error = error_new(ERROR_UNAVAILABLE, "dial %s %s: %s",
                               target->address.ss_family == AF_UNIX ? "unix" : "tcp", text, reason);
    free(text);
}

static void note_system_failure(struct transport_connect *connect, const struct target *target, int system)
{
    char text[128], reason[160];
    snprintf(reason, sizeof(reason), "connect: %s", address_error_text(system, text, sizeof(text)));
    note_failure(connect, target, reason);
}

static void report(struct transport_connect *connect)
{
    struct transport *transport = NULL;
    struct error *error = connect->error;
    connect->error = NULL;
    if (connect->connected) {
        transport = transport_stream_new(connect->loop, connect->descriptor);
        connect->descriptor = -1;
        error_free(error);
        error = NULL;
    }
    void (*done)(void *context, struct transport *transport, struct error *error) = connect->done;
    void *context = connect->context;
    bool canceled = connect->canceled;
    connect_free(connect);
    if (!canceled) done(context, transport, error);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct transport_connect *connect = handle->data;
    connect->closing_poll = false;
    if (connect->connected || connect->canceled) {
        if (connect->canceled) connect->connected = false;
        report(connect);
        return;
    }
    close(connect->descriptor);
    connect->descriptor = -1;
    try_next(connect);
}

static void poll_close(struct transport_connect *connect)
{
    assert(connect->polling);
    connect->polling = false;
    connect->closing_poll = true;
    uv_close((uv_handle_t *)&connect->poll, on_poll_closed);
}

static void on_connected(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct transport_connect *connect = poll->data;
    int system = 0;
    socklen_t size = sizeof(system);
    (void)!getsockopt(connect->descriptor, SOL_SOCKET, SO_ERROR, &system, &size);
    if (system == 0 && status < 0)
        system = -status; /* libuv's EBADF stands for any failure, so it comes last */
    if (system == 0)
        connect->connected = true;
    else
        note_system_failure(connect, &connect->targets[connect->next - 1], system);
    poll_close(connect);
}

static int start_connecting(int descriptor, const struct target *target)
{
    return connect(descriptor, (const struct sockaddr *)&target->address, target->size);
}

static bool try_target(struct transport_connect *connect, const struct target *target)
{
    connect->descriptor = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connect->descriptor < 0) {
        note_system_failure(connect, target, errno);
        return false;
    }
    const struct target *local = &connect->local;
    bool is_bound = local->size == 0 || local->address.ss_family != target->address.ss_family ||
                    bind(connect->descriptor, (const struct sockaddr *)&local->address, local->size) == 0;
    if (!is_bound || (start_connecting(connect->descriptor, target) != 0 && errno != EINPROGRESS)) {
        note_system_failure(connect, target, errno);
        close(connect->descriptor);
        connect->descriptor = -1;
        return false;
    }
    int status = uv_poll_init(loop_uv(connect->loop), &connect->poll, connect->descriptor);
    assert(status == 0);
    connect->poll.data = connect;
    connect->polling = true;
    status = uv_poll_start(&connect->poll, UV_WRITABLE, on_connected);
    assert(status == 0);
    return true;
}

static void try_next(struct transport_connect *connect)
{
    while (connect->next < connect->target_count) {
        if (try_target(connect, &connect->targets[connect->next++])) return;
    }
    report(connect);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct transport_connect *connect = request->data;
    connect->resolving = false;
    if (status != 0) {
        connect->error = error_new(ERROR_UNAVAILABLE, "dial tcp: lookup %s: %s", connect->host,
                                   status == UV_EAI_NONAME || status == UV_EAI_NODATA ? "no such host"
                                                                                      : uv_strerror(status));
    }
    for (struct addrinfo *one = found; one != NULL && connect->target_count < ADDRESSES_MAX;
         one = one->ai_next) {
        struct target *target = &connect->targets[connect->target_count++];
        memcpy(&target->address, one->ai_addr, one->ai_addrlen);
        target->size = one->ai_addrlen;
    }
    uv_freeaddrinfo(found);
    if (connect->canceled)
        report(connect);
    else
        try_next(connect);
}

static void on_later(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    try_next(CONTAINER(deferred, struct transport_connect, later));
}

/* Lets go of whatever is under way; the object is freed when that has ended. */
static void abandon(struct transport_connect *connect)
{
    connect->canceled = true;
    loop_timer_clear(connect->loop, &connect->timeout);
    if (connect->resolving)
        (void)uv_cancel((uv_req_t *)&connect->resolve);
    else if (connect->polling)
        poll_close(connect);
    else if (!connect->closing_poll)
        connect_free(connect);
}

static void on_timeout(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct transport_connect *connect = CONTAINER(timer, struct transport_connect, timeout);
    if (connect->next > 0) {
        note_failure(connect, &connect->targets[connect->next - 1], "i/o timeout");
    } else if (connect->error == NULL) {
        connect->error = error_new(ERROR_TIMEOUT, "dial tcp: lookup %s: i/o timeout", connect->host);
    }
    struct error *error = connect->error;
    connect->error = NULL;
    void (*done)(void *context, struct transport *transport, struct error *error) = connect->done;
    void *context = connect->context;
    abandon(connect);
    done(context, NULL, error);
}

static void resolve(struct transport_connect *connect, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    if (strcmp(connect->host, "localhost") == 0) hints.ai_flags = 0;
    connect->resolve.data = connect;
    int status =
        uv_getaddrinfo(loop_uv(connect->loop), &connect->resolve, on_resolved, connect->host, port, &hints);
    if (status == 0) {
        connect->resolving = true;
    } else {
        connect->error =
            error_new(ERROR_UNAVAILABLE, "dial tcp: lookup %s: %s", connect->host, uv_strerror(status));
        loop_defer(connect->loop, &connect->later);
    }
}

struct transport_connect *transport_connect(struct loop *loop, const char *address, int64_t timeout,
                                            void (*done)(void *context, struct transport *transport,
                                                         struct error *error),
                                            void *context)
{
    struct transport_connect *connect = mem_zalloc(1, sizeof(*connect));
    connect->loop = loop;
    connect->done = done;
    connect->context = context;
    connect->descriptor = -1;
    connect->timeout.run = on_timeout;
    connect->later.run = on_later;
    if (timeout > 0) loop_timer_set(loop, &connect->timeout, clock_monotonic() + timeout);
    const char *path = address_unix_path(address);
    char *port = NULL;
    struct target *first = &connect->targets[0];
    if (path != NULL) {
        connect->host = mem_strdup(path);
        connect->error = address_unix(path, &first->address, &first->size);
        connect->target_count = connect->error == NULL ? 1 : 0;
        loop_defer(loop, &connect->later);
    } else if ((connect->error = address_split(address, &connect->host, &port)) != NULL) {
        connect->error = error_wrap(connect->error, "dial tcp");
        loop_defer(loop, &connect->later);
    } else if (address_numeric(connect->host[0] == 0 ? "127.0.0.1" : connect->host, port, &first->address,
                               &first->size)) {
        connect->target_count = 1;
        loop_defer(loop, &connect->later);
    } else {
        resolve(connect, port);
    }
    free(port);
    return connect;
}

void transport_connect_from(struct transport_connect *connect, const char *local_address)
{
    if (!address_numeric(local_address, "0", &connect->local.address, &connect->local.size))
        connect->local.size = 0;
}

void transport_connect_cancel(struct transport_connect *connect)
{
    abandon(connect);
}
