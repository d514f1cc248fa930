/* token_provider: what kind of tokens logins make (--auth-token).
 *
 *     simple                       random, known to the members' memory (auth/tokens.h)
 *     jwt,sign-method=…,pub-key=…,priv-key=…,ttl=5m    signed, known by their signature (jwt.h)
 *     (empty)                      none: nobody can log in
 *
 * Thread safe once made.
 */
#ifndef SERVER_TOKEN_PROVIDER_H
#define SERVER_TOKEN_PROVIDER_H

#include "base/log.h"
#include "server/jwt.h"

enum token_kind { TOKEN_SIMPLE, TOKEN_SIGNED, TOKEN_NONE };

struct token_provider {
    enum token_kind kind;
    struct jwt *jwt; /* TOKEN_SIGNED */
};

/* Reads the option, and the keys it names. */
struct error *token_provider_init(struct token_provider *provider, const char *option,
                                  const struct logger *logger) __attribute__((warn_unused_result));
void token_provider_deinit(struct token_provider *provider);

#endif
