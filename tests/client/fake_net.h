/* fake_net: net/loop.h and net/grpc_client.h without a network, for tests of the client.
 *
 * Time stands still until fake_advance. Channels are down until fake_up. A call that the client makes is
 * found by fake_open_call; the test plays the server: it looks at what was sent, answers and closes.
 */
#ifndef TESTS_CLIENT_FAKE_NET_H
#define TESTS_CLIENT_FAKE_NET_H

#include "api/message.h"
#include "net/grpc_client.h"

struct loop *fake_loop_new(void);
void fake_loop_free(struct loop *loop);
/* Moves the time on, running timers in their order. */
void fake_advance(struct loop *loop, int64_t nanoseconds);

/* The channel to that address; fails the test when there is none. */
struct grpc_channel *fake_channel(const char *address);
void fake_up(struct grpc_channel *channel);
/* The connection breaks: open calls end with Unavailable, "connection lost". */
void fake_down(struct grpc_channel *channel);

/* The newest open call of that method ("/etcdserverpb.KV/Put"), on any channel; NULL when there is none. */
struct grpc_client_call *fake_open_call(const char *path);
/* How many calls of that method were made so far, closed ones included. */
size_t fake_call_count(const char *path);
const char *fake_call_address(const struct grpc_client_call *call);
/* The value the client sent with the call; NULL when it sent none. */
const char *fake_call_metadata(const struct grpc_client_call *call, const char *key);
bool fake_call_is_paused(const struct grpc_client_call *call);
/* The next message the client sent on the call, in `arena`; NULL when there is none (more). */
void *fake_take_sent(struct grpc_client_call *call, const ProtobufCMessageDescriptor *descriptor,
                     struct arena *arena);

void fake_send(struct grpc_client_call *call, const ProtobufCMessage *message);
void fake_close(struct grpc_client_call *call, enum grpc_code code, const char *text);
/* The server has certainly not seen it. */
void fake_close_unprocessed(struct grpc_client_call *call);
/* A message and OK. */
void fake_answer(struct grpc_client_call *call, const ProtobufCMessage *message);

#endif
