/* jwt: signed tokens (--auth-token jwt,...), as etcd makes and reads them.
 *
 *     base64url({"alg":"RS256","typ":"JWT"})
 *     . base64url({"exp":…,"revision":…,"username":…})
 *     . base64url(signature)
 *
 * Why our own on OpenSSL and jansson instead of libjwt: what etcd's clients and operators use includes
 * Ed25519 and RSA-PSS, which the packaged libjwt lacks; the rest of a JWT is a few lines on two libraries
 * that are here anyway, and the rules (only the configured algorithm, numeric claims, no expiry unless told)
 * must be etcd's to the letter.
 *
 * Verifying takes some 50 µs and is done where the call is; signing with RSA takes milliseconds: helpers'
 * work. Thread safe once made.
 */
#ifndef SERVER_JWT_H
#define SERVER_JWT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

struct jwt;

struct jwt_options {
    const char *method; /* RS256, PS384, ES512, HS256, EdDSA, ... */
    /* Paths of PEM files; "" where there is none. HS: the file's bytes are the secret. */
    const char *private_key;
    const char *public_key; /* alone: tokens can be verified, not made */
    int64_t ttl;            /* nanoseconds */
};

/* Reads the keys. Errors have etcd's words where it has some. */
struct error *jwt_new(const struct jwt_options *options, struct jwt **jwt)
    __attribute__((warn_unused_result));
/* NULL is allowed. */
void jwt_free(struct jwt *jwt);

struct jwt_claims {
    struct bytes user;
    uint64_t revision; /* of the users and roles */
};

/* Whether the token is one of ours and of now (wall clock, seconds). The claims are from `arena`. */
bool jwt_verify(const struct jwt *jwt, struct bytes token, int64_t now, struct arena *arena,
                struct jwt_claims *claims) __attribute__((warn_unused_result));

bool jwt_can_sign(const struct jwt *jwt);
/* What is answered where it cannot. */
#define JWT_VERIFY_ONLY "auth: token signing attempted with verify-only key"
/* Appends a token. False: the library refuses, without a known reason. */
bool jwt_sign(const struct jwt *jwt, const struct jwt_claims *claims, int64_t now, struct buf *token)
    __attribute__((warn_unused_result));

#endif
