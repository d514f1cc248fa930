/* identity: who a call says it is from.
 *
 * The first value of the metadata `token`, else of `authorization` (where a leading "Bearer " is passed
 * over), is a token. The JSON gateway hands the HTTP header Authorization on as `authorization`, so that the
 * same holds there. Whether a simple token is good the node knows; a signed one is verified here.
 *
 * Without a token, and with --client-cert-auth, it is the common name in the client's certificate; but not
 * when the call came through a JSON gateway (metadata `grpcgateway-accept`), whose own certificate it would
 * be.
 */
#ifndef SERVER_IDENTITY_H
#define SERVER_IDENTITY_H

#include "node/node.h"

struct arena;
struct grpc_call;
struct token_provider;

/* Loop thread. What it points to is copied into `arena`: it may outlive the call. */
void identity_of_call(struct grpc_call *call, struct arena *arena, struct node_identity *identity);
/* By a token alone, as another member passes it on. Any thread. */
void identity_of_token(const struct token_provider *provider, struct bytes token, struct arena *arena,
                       struct node_identity *identity);

#endif
