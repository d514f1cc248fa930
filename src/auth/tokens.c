#include "auth/tokens.h"

#include "base/list.h"

#include <stdlib.h>

struct token {
    int64_t expires_at;
    size_t size;      /* of the token */
    size_t user_size; /* of the user's name, behind it */
    TAILQ_ENTRY(token) link;
    UT_hash_handle hh;
    uint8_t text[];
};

struct auth_tokens {
    int64_t ttl;
    struct token *table;        /* by the token's text */
    TAILQ_HEAD(, token) by_use; /* the one longest unused first: all have the same TTL */
};

struct auth_tokens *auth_tokens_new(int64_t ttl)
{
    struct auth_tokens *tokens = mem_zalloc(1, sizeof(*tokens));
    tokens->ttl = ttl;
    TAILQ_INIT(&tokens->by_use);
    return tokens;
}

void auth_tokens_free(struct auth_tokens *tokens)
{
    if (tokens == NULL) return;
    auth_tokens_forget_all(tokens);
    free(tokens);
}

static struct bytes user_of(const struct token *token)
{
    return bytes_of(token->text + token->size, token->user_size);
}

static void forget(struct auth_tokens *tokens, struct token *token)
{
    HASH_DELETE(hh, tokens->table, token);
    TAILQ_REMOVE(&tokens->by_use, token, link);
    free(token);
}

static struct token *find(const struct auth_tokens *tokens, struct bytes text)
{
    struct token *token = NULL;
    HASH_FIND(hh, tokens->table, text.data, text.size, token);
    return token;
}

void auth_tokens_assign(struct auth_tokens *tokens, struct bytes text, struct bytes user, int64_t now)
{
    struct token *token = find(tokens, text);
    if (token != NULL) forget(tokens, token);
    auth_tokens_expire(tokens, now);
    if (auth_tokens_count(tokens) == AUTH_TOKENS_MAX) forget(tokens, TAILQ_FIRST(&tokens->by_use));
    token = mem_zalloc(1, sizeof(*token) + text.size + user.size);
    token->size = text.size;
    token->user_size = user.size;
    token->expires_at = now + tokens->ttl;
    memcpy(token->text, text.data, text.size);
    memcpy(token->text + text.size, user.data, user.size);
    HASH_ADD_KEYPTR(hh, tokens->table, token->text, token->size, token);
    TAILQ_INSERT_TAIL(&tokens->by_use, token, link);
}

bool auth_tokens_use(struct auth_tokens *tokens, struct bytes text, int64_t now, struct bytes *user)
{
    struct token *token = find(tokens, text);
    if (token == NULL || now > token->expires_at) return false;
    token->expires_at = now + tokens->ttl;
    TAILQ_REMOVE(&tokens->by_use, token, link);
    TAILQ_INSERT_TAIL(&tokens->by_use, token, link);
    *user = user_of(token);
    return true;
}

void auth_tokens_forget_user(struct auth_tokens *tokens, struct bytes user)
{
    struct token *token, *next;
    for (token = TAILQ_FIRST(&tokens->by_use); token != NULL; token = next) {
        next = TAILQ_NEXT(token, link);
        if (bytes_equal(user_of(token), user)) forget(tokens, token);
    }
}

void auth_tokens_forget_all(struct auth_tokens *tokens)
{
    struct token *token;
    while ((token = TAILQ_FIRST(&tokens->by_use)) != NULL) forget(tokens, token);
}

void auth_tokens_expire(struct auth_tokens *tokens, int64_t now)
{
    struct token *token;
    while ((token = TAILQ_FIRST(&tokens->by_use)) != NULL && now > token->expires_at) forget(tokens, token);
}

size_t auth_tokens_count(const struct auth_tokens *tokens)
{
    return HASH_COUNT(tokens->table);
}

bool auth_token_index(struct bytes token, uint64_t *index)
{
    const uint8_t *dot = token.size == 0 ? NULL : memchr(token.data, '.', token.size);
    const uint8_t *end = token.data + token.size;
    if (dot == NULL || dot + 1 == end) return false;
    *index = 0;
    for (const uint8_t *at = dot + 1; at < end; at++) {
        if (*at < '0' || *at > '9') return false;
        if (__builtin_mul_overflow(*index, UINT64_C(10), index) ||
            __builtin_add_overflow(*index, (uint64_t)(*at - '0'), index))
            return false;
    }
    return true;
}
