#include "net/listener.h"

#include "base/container.h"
#include "base/memory.h"
#include "net/address.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

/* At most this many connections are accepted in one turn of the loop, so that a flood does not starve the
 * others. */
enum { ACCEPTS_PER_TURN = 64 };
/* How long to leave the backlog alone when no more connections are allowed or no descriptor is left. */
#define ACCEPT_PAUSE (50 * LOOP_MILLISECOND)

/* Outlives the listener as long as connections of it are open. */
struct count {
    atomic_size_t references;
    atomic_size_t open;
};

struct listener {
    struct loop *loop;
    struct loop **loops;
    size_t loop_count, next;
    size_t connection_limit;
    void (*on_accept)(void *context, size_t index, struct transport *transport);
    void *context;
    const struct logger *logger;
    int descriptor;
    char *address;
    char *unix_path; /* removed at the end */
    struct count *count;
    uv_poll_t poll;
    bool polling, closing, poll_closed;
    struct loop_timer pause;
    size_t travelling; /* accepted, not yet arrived; listener's loop only */
};

/* A socket on its way to its loop, and the way back to say that it has arrived. */
struct arrival {
    struct loop_task task;
    struct listener *listener;
    int descriptor;
    size_t index;
};

static void count_unref(struct count *count)
{
    if (atomic_fetch_sub(&count->references, 1) == 1) free(count);
}

static void on_transport_free(void *context)
{
    struct count *count = context;
    atomic_fetch_sub(&count->open, 1);
    count_unref(count);
}

static void free_when_done(struct listener *listener)
{
    if (!listener->poll_closed || listener->travelling > 0) return;
    count_unref(listener->count);
    free(listener->address);
    free(listener->unix_path);
    free(listener->loops);
    free(listener);
}

static void on_arrived(struct loop *loop, struct loop_task *task)
{
    (void)loop;
    struct arrival *arrival = (struct arrival *)task;
    struct listener *listener = arrival->listener;
    free(arrival);
    listener->travelling--;
    if (listener->closing) free_when_done(listener);
}

static void on_arrival(struct loop *loop, struct loop_task *task)
{
    struct arrival *arrival = (struct arrival *)task;
    struct listener *listener = arrival->listener;
    struct transport *transport = transport_stream_new(loop, arrival->descriptor);
    transport->on_free = on_transport_free;
    transport->on_free_context = listener->count;
    listener->on_accept(listener->context, arrival->index, transport);
    arrival->task.run = on_arrived;
    loop_post(listener->loop, &arrival->task);
}

static void hand_over(struct listener *listener, int descriptor)
{
    struct arrival *arrival = mem_zalloc(1, sizeof(*arrival));
    arrival->task.run = on_arrival;
    arrival->listener = listener;
    arrival->descriptor = descriptor;
    arrival->index = listener->next;
    listener->next = (listener->next + 1) % listener->loop_count;
    listener->travelling++;
    atomic_fetch_add(&listener->count->references, 1);
    atomic_fetch_add(&listener->count->open, 1);
    loop_post(listener->loops[arrival->index], &arrival->task);
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void pause_accepting(struct listener *listener)
{
    uv_poll_stop(&listener->poll);
    loop_timer_set(listener->loop, &listener->pause, clock_monotonic() + ACCEPT_PAUSE);
}

static void on_pause_over(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct listener *listener = CONTAINER(timer, struct listener, pause);
    if (listener->connection_limit != 0 && listener_connections(listener) >= listener->connection_limit) {
        loop_timer_set(listener->loop, &listener->pause, clock_monotonic() + ACCEPT_PAUSE);
    } else {
        uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
    }
}

static bool is_transient(int system)
{
    return system == EINTR || system == ECONNABORTED || system == EPROTO || system == ENETDOWN ||
           system == EHOSTUNREACH || system == ENETUNREACH;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct listener *listener = poll->data;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (listener->connection_limit != 0 && listener_connections(listener) >= listener->connection_limit) {
            pause_accepting(listener);
            return;
        }
        int descriptor = accept4(listener->descriptor, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor >= 0) {
            hand_over(listener, descriptor);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (!is_transient(errno)) {
            char text[128];
            log_warn(listener->logger, "failed to accept a connection",
                     LOG_STRING("address", listener->address),
                     LOG_STRING("error", address_error_text(errno, text, sizeof(text))));
            pause_accepting(listener);
            return;
        }
    }
}

static struct error *bind_failed(const char *network, const char *address, const char *call, int system)
{
    char text[128];
    struct error *error = error_new(ERROR_OTHER, "listen %s %s: %s: %s", network, address, call,
                                    address_error_text(system, text, sizeof(text)));
    error->system = system;
    return error;
}

static struct error *bind_address(struct listener *listener, const struct listener_config *config,
                                  const struct sockaddr_storage *address, socklen_t size, bool dual_stack)
{
    const char *network = address->ss_family == AF_UNIX ? "unix" : "tcp";
    int on = 1, only_v6 = dual_stack ? 0 : 1;
    listener->descriptor = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener->descriptor < 0) return bind_failed(network, config->address, "socket", errno);
    if (address->ss_family != AF_UNIX) {
        (void)!setsockopt(listener->descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (config->reuse_port)
            (void)!setsockopt(listener->descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    }
    if (address->ss_family == AF_INET6) {
        (void)!setsockopt(listener->descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof(only_v6));
    }
    int system = 0;
    const char *call = "bind";
    if (bind(listener->descriptor, (const struct sockaddr *)address, size) != 0) {
        system = errno;
    } else if (listen(listener->descriptor, config->backlog > 0 ? config->backlog : SOMAXCONN) != 0) {
        system = errno;
        call = "listen";
    }
    if (system == 0) return NULL;
    close(listener->descriptor);
    listener->descriptor = -1;
    return bind_failed(network, config->address, call, system);
}

/* Names are looked up here and now: listening happens at start, before anything is served. */
static struct error *look_up(const char *host, const char *port, struct sockaddr_storage *address,
                             socklen_t *size)
{
    if (address_numeric(host, port, address, size)) return NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    /* Go takes the IPv4 address of a name that has both. */
    hints.ai_family = AF_INET;
    int status = getaddrinfo(host, port, &hints, &found);
    if (status != 0) {
        hints.ai_family = AF_UNSPEC;
        status = getaddrinfo(host, port, &hints, &found);
    }
    if (status != 0) {
        return error_new(ERROR_NOT_FOUND, "listen tcp: lookup %s: %s", host,
                         status == EAI_NONAME ? "no such host" : gai_strerror(status));
    }
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *size = found->ai_addrlen;
    freeaddrinfo(found);
    return NULL;
}

static struct error *bind_tcp(struct listener *listener, const struct listener_config *config)
{
    char *host = NULL, *port = NULL;
    TRY(address_split(config->address, &host, &port));
    struct sockaddr_storage address;
    socklen_t size;
    struct error *error = NULL;
    bool any = host[0] == 0 || strcmp(host, "0.0.0.0") == 0;
    bool bound = false;
    if (any && address_numeric("::", port, &address, &size)) {
        error = bind_address(listener, config, &address, size, true);
        /* Without IPv6 in the kernel the v4 wildcard must do. */
        bound = error == NULL || error->system == EADDRINUSE || error->system == EACCES;
    }
    if (!bound) {
        error_free(error);
        error = look_up(any ? "0.0.0.0" : host, port, &address, &size);
        bool v6_any = strcmp(host, "::") == 0;
        if (error == NULL) error = bind_address(listener, config, &address, size, v6_any);
    }
    free(host);
    free(port);
    return error;
}

static struct error *bind_unix(struct listener *listener, const struct listener_config *config,
                               const char *path)
{
    struct sockaddr_storage address;
    socklen_t size;
    TRY(address_unix(path, &address, &size));
    if (unlink(path) != 0 && errno != ENOENT) return bind_failed("unix", path, "unlink", errno);
    TRY(bind_address(listener, config, &address, size, false));
    listener->unix_path = mem_strdup(path);
    return NULL;
}

struct error *listener_new(struct loop *loop, const struct listener_config *config, struct listener **out)
{
    assert(config->loop_count > 0 && config->on_accept != NULL);
    struct listener *listener = mem_zalloc(1, sizeof(*listener));
    listener->loop = loop;
    const char *path = address_unix_path(config->address);
    struct error *error = path != NULL ? bind_unix(listener, config, path) : bind_tcp(listener, config);
    if (error != NULL) {
        free(listener);
        return error;
    }
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof(bound);
    (void)!getsockname(listener->descriptor, (struct sockaddr *)&bound, &size);
    listener->address = address_text(&bound, size);
    listener->loops = mem_dup(config->loops, config->loop_count * sizeof(struct loop *));
    listener->loop_count = config->loop_count;
    listener->connection_limit = config->connection_limit;
    listener->on_accept = config->on_accept;
    listener->context = config->context;
    listener->logger = config->logger == NULL ? &log_discard : config->logger;
    listener->pause.run = on_pause_over;
    listener->count = mem_zalloc(1, sizeof(*listener->count));
    atomic_init(&listener->count->references, 1);
    *out = listener;
    return NULL;
}

void listener_start(struct listener *listener)
{
    assert(!listener->polling && !listener->closing);
    int status = uv_poll_init(loop_uv(listener->loop), &listener->poll, listener->descriptor);
    assert(status == 0);
    listener->poll.data = listener;
    listener->polling = true;
    uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    listener->poll_closed = true;
    free_when_done(listener);
}

void listener_close(struct listener *listener)
{
    assert(!listener->closing);
    listener->closing = true;
    loop_timer_clear(listener->loop, &listener->pause);
    if (listener->polling) uv_close((uv_handle_t *)&listener->poll, on_poll_closed);
    close(listener->descriptor);
    if (listener->unix_path != NULL) unlink(listener->unix_path);
    if (!listener->polling) {
        listener->poll_closed = true;
        free_when_done(listener);
    }
}

const char *listener_address(const struct listener *listener)
{
    return listener->address;
}

size_t listener_connections(struct listener *listener)
{
    return atomic_load(&listener->count->open);
}
