/* tokens: the simple tokens of logged-in users.
 *
 * A token is made when a login is applied, on every member alike: "PREFIX.INDEX" of the sixteen random
 * letters that the member chose which took the login, and the index of the entry before it. It lasts while it
 * is used at least once per TTL on this member, until its user's password changes or the user or
 * authentication goes. It is in memory only: a restart forgets it, and so does a snapshot, because what
 * would have ended it may be among the entries that are passed over (a real etcd keeps it then). It carries
 * no revision: whoever shows it is a user of now.
 *
 * Times: nanoseconds of the node's clock. Pure; one thread.
 */
#ifndef AUTH_TOKENS_H
#define AUTH_TOKENS_H

#include "base/bytes.h"

struct auth_tokens;

/* Tokens kept; beyond it the ones longest unused go. */
enum { AUTH_TOKENS_MAX = 1 << 17 };

struct auth_tokens *auth_tokens_new(int64_t ttl) __attribute__((returns_nonnull, warn_unused_result));
/* NULL is allowed. */
void auth_tokens_free(struct auth_tokens *tokens);

/* Both are copied. A token that is there already (an entry applied again) belongs to this user from now on.
 */
void auth_tokens_assign(struct auth_tokens *tokens, struct bytes token, struct bytes user, int64_t now);
/* Whose it is, borrowed until the next call that is not this one; its time begins anew. False: unknown, or
 * its time is over. */
bool auth_tokens_use(struct auth_tokens *tokens, struct bytes token, int64_t now, struct bytes *user);
void auth_tokens_forget_user(struct auth_tokens *tokens, struct bytes user);
void auth_tokens_forget_all(struct auth_tokens *tokens);
/* Drops those whose time is over. */
void auth_tokens_expire(struct auth_tokens *tokens, int64_t now);
size_t auth_tokens_count(const struct auth_tokens *tokens);

/* The index in a well-formed token: a member that has not applied the entry behind it cannot know the token
 * yet. False: it has not the form of a simple token. */
bool auth_token_index(struct bytes token, uint64_t *index);

#endif
