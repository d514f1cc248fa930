/* password: bcrypt, as etcd stores it: "$2a$10$" and 22 characters of salt and 31 of hash.
 *
 * Takes the processor for long on purpose (at cost 10 some 60 ms, twice as much with every step): helpers'
 * work. Thread safe.
 */
#ifndef SERVER_PASSWORD_H
#define SERVER_PASSWORD_H

#include "base/buf.h"

enum { PASSWORD_COST_MIN = 4, PASSWORD_COST_MAX = 31, PASSWORD_COST_DEFAULT = 10, PASSWORD_SALT_SIZE = 16 };

/* Longer ones bcrypt would cut off: they are refused, as Go refuses them. */
enum { PASSWORD_SIZE_MAX = 72 };
#define PASSWORD_TOO_LONG "bcrypt: password length exceeds 72 bytes"

/* Appends the hash; the salt is new random bytes. False: the password is too long or holds a zero byte. */
bool password_hash(struct bytes password, unsigned cost, struct buf *hash)
    __attribute__((warn_unused_result));
/* The same with this salt and the default cost; nothing is appended where there is no hash. */
void password_hash_salted(struct bytes password, const uint8_t salt[PASSWORD_SALT_SIZE], struct buf *hash);
/* Whether the hash is this password's. False as well when it is no hash. Compares in constant time. */
bool password_matches(struct bytes password, struct bytes hash);
/* Takes as long as comparing with a hash of that cost. */
void password_waste_time(unsigned cost);

/* Sixteen random letters, with which a simple token begins. */
void password_token_prefix(struct buf *out);

#endif
