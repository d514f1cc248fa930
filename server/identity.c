#include "server/identity.h"

#include "base/arena.h"
#include "net/grpc_server.h"
#include "server/service.h"
#include "server/token_provider.h"

static struct bytes without_scheme(struct bytes token)
{
    const struct bytes scheme = BYTES_LITERAL("Bearer ");
    if (!bytes_starts_with(token, scheme)) return token;
    return bytes_of(token.data + scheme.size, token.size - scheme.size);
}

void identity_of_token(const struct token_provider *provider, struct bytes shown, struct arena *arena,
                       struct node_identity *identity)
{
    struct jwt_claims claims;
    *identity = (struct node_identity){.kind = NODE_IDENTITY_REFUSED, .token = arena_copy(arena, shown)};
    struct bytes token = without_scheme(identity->token);
    if (provider->kind == TOKEN_SIMPLE) {
        identity->kind = NODE_IDENTITY_TOKEN;
        identity->text = token;
    } else if (provider->kind == TOKEN_SIGNED &&
               jwt_verify(provider->jwt, token, clock_wall() / LOOP_SECOND, arena, &claims)) {
        identity->kind = NODE_IDENTITY_CLAIMS;
        identity->text = claims.user;
        identity->revision = claims.revision;
    }
}

static void identity_of_certificate(const struct grpc_call *call, struct arena *arena,
                                    struct node_identity *identity)
{
    const char *name = grpc_call_peer_common_name(call);
    if (name == NULL) return;
    identity->kind = NODE_IDENTITY_CERTIFICATE;
    identity->text = arena_copy(arena, bytes_from_string(name));
}

void identity_of_call(struct grpc_call *call, struct arena *arena, struct node_identity *identity)
{
    const struct service_context *service = grpc_call_server_context(call);
    struct bytes token;
    *identity = (struct node_identity){0};
    if (grpc_call_metadata(call, "token", &token) || grpc_call_metadata(call, "authorization", &token))
        identity_of_token(service->tokens, token, arena, identity);
    else if (service->client_cert_auth && !grpc_call_metadata(call, "grpcgateway-accept", &token))
        identity_of_certificate(call, arena, identity);
}
