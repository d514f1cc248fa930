/* identity: who a call says it is from.
 *
 * The first value of the metadata `token`, else of `authorization` (where a leading "Bearer " is passed
 * over), is a token. The JSON gateway hands the HTTP header Authorization on as `authorization`, so that the
 * same holds there. Whether the token is good is told by whoever knows: the node for simple tokens.
 */
#ifndef SERVER_IDENTITY_H
#define SERVER_IDENTITY_H

#include "node/node.h"

struct arena;
struct grpc_call;

/* Loop thread. What it points to is copied into `arena`: it may outlive the call. */
void identity_of_call(const struct grpc_call *call, struct arena *arena, struct node_identity *identity);

#endif
