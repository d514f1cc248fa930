#include "server/identity.h"

#include "base/arena.h"
#include "net/grpc_server.h"

static bool find_token(const struct grpc_call *call, struct bytes *token)
{
    const struct bytes scheme = BYTES_LITERAL("Bearer ");
    if (!grpc_call_metadata(call, "token", token) && !grpc_call_metadata(call, "authorization", token))
        return false;
    if (bytes_starts_with(*token, scheme))
        *token = bytes_of(token->data + scheme.size, token->size - scheme.size);
    return true;
}

void identity_of_call(const struct grpc_call *call, struct arena *arena, struct node_identity *identity)
{
    struct bytes token;
    *identity = (struct node_identity){0};
    if (!find_token(call, &token)) return;
    identity->kind = NODE_IDENTITY_TOKEN;
    identity->text = arena_copy(arena, token);
}
