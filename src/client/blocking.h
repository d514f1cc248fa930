/* blocking: the client for programs that wait for answers (shell commands, tests).
 *
 * A blocking client owns a loop on a thread of its own, and a client there. Its functions are called from
 * other threads and wait. Meanwhile the loop keeps connections, watches and leases alive.
 *
 * Ctrl-C: blocking_interrupt() may be called from a signal handler. What waits, and whatever waits later,
 * then ends with "context canceled", until blocking_clear_interrupt().
 *
 * Streams (watches, keep-alives, server streams) deliver into an inbox, from which any thread takes events.
 * An inbox that is full holds its streams back.
 */
#ifndef CLIENT_BLOCKING_H
#define CLIENT_BLOCKING_H

#include "client/client.h"

struct blocking_client;

/* Starts the thread and logs in if there is a user. *login_error is set when logging in failed (there is no
 * client then); the returned error is about the options. Both NULL: *blocking is ready; close it with
 * blocking_free. */
struct error *blocking_new(const struct client_options *options, struct blocking_client **blocking,
                           struct client_error **login_error) __attribute__((warn_unused_result));
/* Ends everything under way. Free inboxes first. NULL is allowed. */
void blocking_free(struct blocking_client *blocking);

/* Async-signal-safe. */
void blocking_interrupt(struct blocking_client *blocking);
void blocking_clear_interrupt(struct blocking_client *blocking);
/* While held, an interrupt has no effect on waiting: for the clean-up that must get through. Counts. */
void blocking_hold_interrupts(struct blocking_client *blocking);
void blocking_release_interrupts(struct blocking_client *blocking);
/* Whether an interrupt is pending, held or not. */
bool blocking_is_interrupted(const struct blocking_client *blocking);

size_t blocking_endpoint_count(const struct blocking_client *blocking);
const char *blocking_endpoint(const struct blocking_client *blocking, size_t index);

/* NULL: *response is of the method's response type, in `arena`. Else the error is the caller's to free.
 * options may be NULL (no deadline). */
struct client_error *blocking_call(struct blocking_client *blocking, enum client_rpc rpc,
                                   const ProtobufCMessage *request, const struct client_call_options *options,
                                   struct arena *arena, ProtobufCMessage **response)
    __attribute__((warn_unused_result));
/* The same, typed by what `response` points to:
 *
 *     Etcdserverpb__RangeResponse *response;
 *     error = blocking_call_into(blocking, CLIENT_RANGE, &request.base, &options, arena, &response);
 */
static inline struct client_error *blocking_call_into(struct blocking_client *blocking, enum client_rpc rpc,
                                                      const ProtobufCMessage *request,
                                                      const struct client_call_options *options,
                                                      struct arena *arena, void *response)
{
    ProtobufCMessage *message = NULL;
    struct client_error *error = blocking_call(blocking, rpc, request, options, arena, &message);
    memcpy(response, &message,
           sizeof(message)); /* NOLINT(bugprone-sizeof-expression): the pointer is meant */
    return error;
}
struct client_error *blocking_keep_alive_once(struct blocking_client *blocking, int64_t lease,
                                              const struct client_call_options *options, struct arena *arena,
                                              ProtobufCMessage **response)
    __attribute__((warn_unused_result));

/* Runs function(context, client) on the loop's thread and waits for it to return: the way to the asynchronous
 * functions. */
void blocking_run(struct blocking_client *blocking, void (*function)(void *context, struct client *client),
                  void *context);

/* ---- Inboxes ---- */

struct blocking_inbox;
struct blocking_source; /* one stream that delivers into an inbox */

struct blocking_inbox *blocking_inbox_new(struct blocking_client *blocking) __attribute__((returns_nonnull));
/* Cancels the streams that still deliver into it and drops what is left. NULL is allowed. */
void blocking_inbox_free(struct blocking_inbox *inbox);

/* `tag` comes back with each event. The source lives until its END event was taken (or the inbox is freed).
 */
struct blocking_source *blocking_watch(struct blocking_inbox *inbox,
                                       const struct client_watch_options *options, void *tag);
struct blocking_source *blocking_keep_alive(struct blocking_inbox *inbox, int64_t lease, void *tag);
struct blocking_source *blocking_stream(struct blocking_inbox *inbox, enum client_rpc rpc,
                                        const ProtobufCMessage *request,
                                        const struct client_call_options *options, void *tag);
/* END follows, with "context canceled". Allowed until END was taken. */
void blocking_source_cancel(struct blocking_source *source);
void blocking_request_progress(struct blocking_client *blocking);

struct blocking_event {
    struct blocking_source *source;
    void *tag;
    enum client_event_kind kind;
    ProtobufCMessage *response; /* MESSAGE */
    struct client_error *error; /* END, may be NULL */
    struct arena *arena;        /* of the response */
};

enum blocking_wait {
    BLOCKING_EVENT,       /* *event is set; give it back with blocking_event_deinit */
    BLOCKING_TIMEOUT,     /* the deadline passed */
    BLOCKING_INTERRUPTED, /* blocking_interrupt was called */
};

/* The next event, in order of arrival. deadline 0: none. */
enum blocking_wait blocking_next(struct blocking_inbox *inbox, int64_t deadline, struct blocking_event *event)
    __attribute__((warn_unused_result));
void blocking_event_deinit(struct blocking_event *event);
/* Readable while an event waits: for poll() beside other descriptors (the REPL's terminal). */
int blocking_inbox_descriptor(const struct blocking_inbox *inbox);

#endif
