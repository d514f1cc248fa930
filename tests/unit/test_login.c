/* Passwords, signed tokens, and the threads that work on them. */
#include "server/helper_pool.h"
#include "server/jwt.h"
#include "server/password.h"
#include "server/token_provider.h"

#include "base/container.h"
#include "base/memory.h"
#include "base/text.h"
#include "tests/unit/expect.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#define B      BYTES_LITERAL
#define SECOND INT64_C(1000000000)

/* ---- passwords ---- */

/* Made by the bcrypt of OpenBSD, of Go and by libxcrypt, whichever version letter they write. */
static void known_hashes_match(void **state)
{
    static const struct {
        const char *password, *hash;
    } known[] = {
        {"", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."},
        {"a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"},
        {"abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"},
        {"allmine", "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga"},
        {"abcdefghijklmnopqrstuvwxyz", "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC"},
        {"~!@#$%^&*()      ~!@#$%^&*()PNBFRD",
         "$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        char other[61];
        struct bytes password = bytes_from_string(known[i].password);
        if (!password_matches(password, bytes_from_string(known[i].hash))) fail_msg("password %zu", i);
        snprintf(other, sizeof(other), "%s", known[i].hash);
        other[2] = 'b';
        assert_true(password_matches(password, bytes_from_string(other)));
        other[59] = other[59] == 'e' ? 'f' : 'e';
        assert_false(password_matches(password, bytes_from_string(other)));
        assert_false(password_matches(B("wrong"), bytes_from_string(known[i].hash)));
    }
}

static void hashes_are_etcds_and_never_the_same(void **state)
{
    struct buf one = {0}, other = {0};
    (void)state;
    assert_true(password_hash(B("p\xc3\xa4ss"), PASSWORD_COST_MIN, &one));
    assert_true(password_hash(B("p\xc3\xa4ss"), PASSWORD_COST_MIN, &other));
    assert_int_equal(one.size, 60);
    assert_true(bytes_starts_with(buf_bytes(&one), B("$2a$04$")));
    assert_false(bytes_equal(buf_bytes(&one), buf_bytes(&other)));
    assert_true(password_matches(B("p\xc3\xa4ss"), buf_bytes(&one)));
    assert_false(password_matches(B("p\xc3\xa4st"), buf_bytes(&one)));
    buf_deinit(&one);
    buf_deinit(&other);
}

static void long_passwords_are_refused(void **state)
{
    static const char text[74] = "0123456789012345678901234567890123456789012345678901234567890123456789012";
    struct buf hash = {0};
    (void)state;
    assert_false(password_hash(bytes_of(text, 73), PASSWORD_COST_MIN, &hash));
    assert_int_equal(hash.size, 0);
    assert_true(password_hash(bytes_of(text, 72), PASSWORD_COST_MIN, &hash));
    assert_true(password_matches(bytes_of(text, 72), buf_bytes(&hash)));
    buf_deinit(&hash);
}

static void what_is_no_hash_matches_nothing(void **state)
{
    static const char *const bad[] = {
        "",
        "*0",
        "secret",
        "$2a$04$abcdefghijklmnopqrstuu",
        "$1$abcdefghijklmnopqrstuu0123456789012345678901234567890123456",
        "$2a$99$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.",
        "$2a$04!DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.",
        "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.x",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(password_matches(B("secret"), bytes_from_string(bad[i])));
        assert_false(password_matches(BYTES_EMPTY, bytes_from_string(bad[i])));
    }
}

/* Every member makes the same of a password that an old one has logged. */
static void a_given_salt_makes_a_given_hash(void **state)
{
    static const uint8_t salt[PASSWORD_SALT_SIZE] = {1, 2, 3};
    struct buf one = {0}, other = {0};
    (void)state;
    password_hash_salted(B("old"), salt, &one);
    password_hash_salted(B("old"), salt, &other);
    assert_int_equal(one.size, 60);
    assert_true(bytes_equal(buf_bytes(&one), buf_bytes(&other)));
    assert_true(password_matches(B("old"), buf_bytes(&one)));
    buf_deinit(&one);
    buf_deinit(&other);
}

static void token_prefixes_are_letters_by_chance(void **state)
{
    bool seen[128] = {false};
    size_t letters = 0;
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct buf prefix = {0};
        password_token_prefix(&prefix);
        assert_int_equal(prefix.size, 16);
        for (size_t j = 0; j < prefix.size; j++) {
            uint8_t c = prefix.data[j];
            assert_true((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
            letters += !seen[c];
            seen[c] = true;
        }
        buf_deinit(&prefix);
    }
    assert_int_equal(letters, 52);
}

/* ---- signed tokens ---- */

static char folder[] = "/tmp/test_login_XXXXXX";

static char *path_of(const char *name)
{
    return mem_printf("%s/%s", folder, name);
}

static void write_key(const char *name, EVP_PKEY *key)
{
    char *private_path = mem_printf("%s/%s.key", folder, name),
         *public_path = mem_printf("%s/%s.pub", folder, name);
    FILE *file = fopen(private_path, "we");
    assert_true(file != NULL && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(file);
    file = fopen(public_path, "we");
    assert_true(file != NULL && PEM_write_PUBKEY(file, key) == 1);
    fclose(file);
    free(private_path);
    free(public_path);
    EVP_PKEY_free(key);
}

static int make_keys(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) return -1;
    write_key("rsa", EVP_RSA_gen(2048));
    write_key("rsa2", EVP_RSA_gen(2048));
    write_key("p256", EVP_EC_gen("P-256"));
    write_key("p384", EVP_EC_gen("P-384"));
    write_key("p521", EVP_EC_gen("P-521"));
    write_key("ed", EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
    char *path = path_of("secret.key");
    FILE *file = fopen(path, "we");
    fputs("a secret of some length", file);
    fclose(file);
    free(path);
    return 0;
}

static int remove_keys(void **state)
{
    static const char *const names[] = {"rsa", "rsa2", "p256", "p384", "p521", "ed", "secret"};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *private_path = mem_printf("%s/%s.key", folder, names[i]),
             *public_path = mem_printf("%s/%s.pub", folder, names[i]);
        unlink(private_path);
        unlink(public_path);
        free(private_path);
        free(public_path);
    }
    return rmdir(folder);
}

static struct error *open_jwt(const char *method, const char *private_key, const char *public_key,
                              struct jwt **jwt)
{
    char *private_path = *private_key == '\0' ? mem_strdup("") : path_of(private_key),
         *public_path = *public_key == '\0' ? mem_strdup("") : path_of(public_key);
    struct error *error = jwt_new(&(const struct jwt_options){.method = method,
                                                              .private_key = private_path,
                                                              .public_key = public_path,
                                                              .ttl = 300 * SECOND},
                                  jwt);
    free(private_path);
    free(public_path);
    return error;
}

static const struct {
    const char *method, *private_key, *public_key;
} kinds[] = {
    {"RS256", "rsa.key", "rsa.pub"},   {"RS384", "rsa.key", "rsa.pub"},   {"RS512", "rsa.key", "rsa.pub"},
    {"PS256", "rsa.key", "rsa.pub"},   {"PS384", "rsa.key", "rsa.pub"},   {"PS512", "rsa.key", "rsa.pub"},
    {"ES256", "p256.key", "p256.pub"}, {"ES384", "p384.key", "p384.pub"}, {"ES512", "p521.key", "p521.pub"},
    {"EdDSA", "ed.key", "ed.pub"},     {"HS256", "secret.key", ""},       {"HS384", "secret.key", ""},
    {"HS512", "secret.key", ""},
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static void every_method_signs_and_verifies(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        struct jwt *signer = NULL, *verifier = NULL;
        struct buf token = {0};
        struct jwt_claims claims = {.user = B("ann"), .revision = 42}, found;
        struct arena *arena = arena_new();
        must(open_jwt(kinds[i].method, kinds[i].private_key, kinds[i].public_key, &signer));
        assert_true(jwt_can_sign(signer));
        assert_true(jwt_sign(signer, &claims, 1000, &token));
        bool is_secret = *kinds[i].public_key == '\0';
        must(
            open_jwt(kinds[i].method, is_secret ? kinds[i].private_key : "", kinds[i].public_key, &verifier));
        assert_int_equal(jwt_can_sign(verifier), is_secret);
        if (!jwt_verify(verifier, buf_bytes(&token), 1299, arena, &found)) fail_msg("%s", kinds[i].method);
        assert_true(bytes_equal(found.user, B("ann")) && found.revision == 42);
        assert_false(jwt_verify(verifier, buf_bytes(&token), 1300, arena, &found)); /* its time is over */
        for (size_t j = 0; j < token.size; j += 7) {
            token.data[j] ^= 1;
            if (jwt_verify(verifier, buf_bytes(&token), 1001, arena, &found))
                fail_msg("byte %zu is not signed", j);
            token.data[j] ^= 1;
        }
        for (size_t size = 0; size < token.size; size += 5)
            assert_false(jwt_verify(verifier, bytes_of(token.data, size), 1001, arena, &found));
        struct buf again = {0};
        assert_int_equal(jwt_sign(verifier, &claims, 1000, &again), is_secret);
        buf_deinit(&again);
        arena_free(arena);
        buf_deinit(&token);
        jwt_free(signer);
        jwt_free(verifier);
    }
}

/* Whoever makes a token does not choose how it is checked. */
static void tokens_of_other_methods_are_refused(void **state)
{
    struct jwt *all[KINDS];
    struct arena *arena = arena_new();
    struct jwt_claims claims = {.user = B("ann"), .revision = 1};
    (void)state;
    for (size_t i = 0; i < KINDS; i++) must(open_jwt(kinds[i].method, kinds[i].private_key, "", &all[i]));
    for (size_t i = 0; i < KINDS; i++) {
        struct buf token = {0};
        assert_true(jwt_sign(all[i], &claims, 1000, &token));
        for (size_t j = 0; j < KINDS; j++)
            assert_int_equal(jwt_verify(all[j], buf_bytes(&token), 1001, arena, &claims), i == j);
        buf_deinit(&token);
    }
    for (size_t i = 0; i < KINDS; i++) jwt_free(all[i]);
    arena_free(arena);
}

static void append_part(struct buf *token, const char *text)
{
    text_base64(token, bytes_from_string(text));
    while (token->data[token->size - 1] == '=') token->size--;
    for (size_t i = 0; i < token->size; i++) {
        if (token->data[i] == '+') token->data[i] = '-';
        if (token->data[i] == '/') token->data[i] = '_';
    }
}

/* A token with any header and payload, signed with the secret. */
static void forge(struct buf *token, const char *header, const char *payload)
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned size;
    struct buf encoded = {0};
    buf_clear(token);
    append_part(token, header);
    buf_append_byte(token, '.');
    append_part(token, payload);
    assert_non_null(HMAC(EVP_sha256(), "a secret of some length", 23, token->data, token->size, mac, &size));
    text_base64(&encoded, bytes_of(mac, size));
    while (encoded.data[encoded.size - 1] == '=') encoded.size--;
    for (size_t i = 0; i < encoded.size; i++) {
        if (encoded.data[i] == '+') encoded.data[i] = '-';
        if (encoded.data[i] == '/') encoded.data[i] = '_';
    }
    buf_append_byte(token, '.');
    buf_append_bytes(token, buf_bytes(&encoded));
    buf_deinit(&encoded);
}

static void claims_are_read_as_etcd_reads_them(void **state)
{
    static const struct {
        const char *header, *payload;
        bool good;
        uint64_t revision;
    } cases[] = {
        {"{\"alg\":\"HS256\",\"typ\":\"JWT\"}", "{\"username\":\"ann\",\"revision\":7}", true,
         7}, /* no expiry */
        {"{\"alg\":\"HS256\"}", "{\"username\":\"ann\",\"revision\":7.9,\"exp\":1001}", true, 7},
        {"{\"alg\":\"HS256\"}", "{\"username\":\"ann\",\"revision\":7,\"exp\":0}", true, 7},
        {"{\"alg\":\"HS256\"}", "{\"username\":\"ann\",\"revision\":-1}", true, 0},
        {"{\"alg\":\"HS256\"}", "{\"username\":\"ann\",\"revision\":7,\"exp\":1000}", false, 0},
        {"{\"alg\":\"HS256\"}", "{\"username\":\"ann\",\"revision\":7,\"exp\":\"2000\"}", false, 0},
        {"{\"alg\":\"HS256\"}", "{\"username\":\"ann\",\"revision\":7,\"nbf\":1001}", false, 0},
        {"{\"alg\":\"HS256\"}", "{\"username\":\"ann\",\"revision\":\"7\"}", false, 0},
        {"{\"alg\":\"HS256\"}", "{\"username\":\"ann\"}", false, 0},
        {"{\"alg\":\"HS256\"}", "{\"username\":5,\"revision\":7}", false, 0},
        {"{\"alg\":\"HS256\"}", "{\"revision\":7}", false, 0},
        {"{\"alg\":\"HS256\"}", "[1]", false, 0},
        {"{\"alg\":\"HS256\"}", "{\"username\":\"ann\",\"revision\":7", false, 0},
        {"{\"alg\":\"none\"}", "{\"username\":\"ann\",\"revision\":7}", false, 0},
        {"{\"alg\":\"hs256\"}", "{\"username\":\"ann\",\"revision\":7}", false, 0},
        {"{\"typ\":\"JWT\"}", "{\"username\":\"ann\",\"revision\":7}", false, 0},
        {"{\"alg\":[\"HS256\"]}", "{\"username\":\"ann\",\"revision\":7}", false, 0},
    };
    struct jwt *jwt = NULL;
    struct buf token = {0};
    struct arena *arena = arena_new();
    (void)state;
    must(open_jwt("HS256", "secret.key", "", &jwt));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct jwt_claims claims = {0};
        forge(&token, cases[i].header, cases[i].payload);
        if (jwt_verify(jwt, buf_bytes(&token), 1000, arena, &claims) != cases[i].good)
            fail_msg("%s %s", cases[i].header, cases[i].payload);
        assert_int_equal(claims.revision, cases[i].revision);
    }
    buf_append_string(&token, ".more");
    struct jwt_claims claims;
    assert_false(jwt_verify(jwt, buf_bytes(&token), 1000, arena, &claims));
    assert_false(jwt_verify(jwt, B(".."), 1000, arena, &claims));
    assert_false(jwt_verify(jwt, BYTES_EMPTY, 1000, arena, &claims));
    buf_deinit(&token);
    arena_free(arena);
    jwt_free(jwt);
}

static void expect_refused(const char *option, const char *text)
{
    struct token_provider provider;
    struct error *error = token_provider_init(&provider, option, &log_discard);
    if (error == NULL) fail_msg("%s was accepted", option);
    if (strstr(error->text, text) == NULL) fail_msg("%s: %s", option, error->text);
    error_free(error);
}

static void keys_must_fit(void **state)
{
    static const char invalid[] = "auth: invalid auth options";
    char option[512];
    (void)state;
    expect_refused("jwt", invalid);
    expect_refused("jwt,", invalid);
    expect_refused("other", invalid);
    expect_refused("jwt,sign-method=none", invalid);
    expect_refused("jwt,sign-method=RS256,sign-method=RS256", invalid);
    expect_refused("jwt,sign-method", invalid);
    expect_refused("jwt,sign-method=RS256=x", invalid);
    expect_refused("jwt,sign-method=RS256,ttl=5", invalid);
    expect_refused("jwt,sign-method=RS256", "auth: missing key data");
    expect_refused("jwt,sign-method=HS256", "auth: missing key data");
    expect_refused("jwt,sign-method=RS256,pub-key=/nonexistent",
                   "open /nonexistent: No such file or directory");
    snprintf(option, sizeof(option), "jwt,sign-method=RS256,pub-key=%s/rsa.pub,priv-key=%s/rsa2.key", folder,
             folder);
    expect_refused(option, "auth: public and private keys don't match");
    snprintf(option, sizeof(option), "jwt,sign-method=RS256,pub-key=%s/p256.pub", folder);
    expect_refused(option, "is not one for RS256");
    snprintf(option, sizeof(option), "jwt,sign-method=ES256,pub-key=%s/p384.pub", folder);
    expect_refused(option, "is not one for ES256");
    snprintf(option, sizeof(option), "jwt,sign-method=ES256,priv-key=%s/p256.pub", folder);
    expect_refused(option, "holds no private key");
}

static void kinds_of_tokens(void **state)
{
    struct token_provider provider;
    char option[512];
    (void)state;
    must(token_provider_init(&provider, "simple", &log_discard));
    assert_int_equal(provider.kind, TOKEN_SIMPLE);
    must(token_provider_init(&provider, "", &log_discard));
    assert_int_equal(provider.kind, TOKEN_NONE);
    snprintf(option, sizeof(option),
             "jwt,pub-key=%s/rsa.pub,priv-key=%s/rsa.key,sign-method=PS256,ttl=10m,other=x", folder, folder);
    must(token_provider_init(&provider, option, &log_discard));
    assert_int_equal(provider.kind, TOKEN_SIGNED);
    assert_true(jwt_can_sign(provider.jwt));
    token_provider_deinit(&provider);
}

/* ---- helpers ---- */

struct counted {
    struct helper_job job;
    atomic_int *run;
    int *done;
};

static void count_run(struct helper_job *job)
{
    atomic_fetch_add(CONTAINER(job, struct counted, job)->run, 1);
}

static void count_done(struct helper_job *job)
{
    *CONTAINER(job, struct counted, job)->done += 1;
}

static void helpers_do_every_job_once(void **state)
{
    enum { JOBS = 500 };
    struct loop *loop = loop_new();
    struct helper_pool *pool = helper_pool_new(3, JOBS);
    struct counted jobs[JOBS];
    atomic_int run = 0;
    int done = 0;
    (void)state;
    for (size_t i = 0; i < JOBS; i++) {
        jobs[i] = (struct counted){.job = {.run = count_run, .done = count_done, .loop = loop},
                                   .run = &run,
                                   .done = &done};
        assert_true(helper_pool_run(pool, &jobs[i].job));
    }
    while (done < JOBS) loop_run_once(loop, 10 * LOOP_MILLISECOND);
    assert_int_equal(atomic_load(&run), JOBS);
    helper_pool_free(pool);
    loop_free(loop);
}

static atomic_bool gate;

static void wait_at_gate(struct helper_job *job)
{
    (void)job;
    while (!atomic_load(&gate)) usleep(1000);
}

static void a_full_queue_refuses(void **state)
{
    struct loop *loop = loop_new();
    struct helper_pool *pool = helper_pool_new(1, 1);
    struct counted jobs[50];
    int done = 0, taken = 0;
    (void)state;
    for (size_t i = 0; i < 50; i++) {
        jobs[i] =
            (struct counted){.job = {.run = wait_at_gate, .done = count_done, .loop = loop}, .done = &done};
        taken += helper_pool_run(pool, &jobs[i].job);
    }
    assert_in_range(taken, 1, 2); /* one at work, one waits */
    atomic_store(&gate, true);
    while (done < taken) loop_run_once(loop, 10 * LOOP_MILLISECOND);
    helper_pool_free(pool);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_hashes_match),
        cmocka_unit_test(hashes_are_etcds_and_never_the_same),
        cmocka_unit_test(long_passwords_are_refused),
        cmocka_unit_test(what_is_no_hash_matches_nothing),
        cmocka_unit_test(a_given_salt_makes_a_given_hash),
        cmocka_unit_test(token_prefixes_are_letters_by_chance),
        cmocka_unit_test(every_method_signs_and_verifies),
        cmocka_unit_test(tokens_of_other_methods_are_refused),
        cmocka_unit_test(claims_are_read_as_etcd_reads_them),
        cmocka_unit_test(keys_must_fit),
        cmocka_unit_test(kinds_of_tokens),
        cmocka_unit_test(helpers_do_every_job_once),
        cmocka_unit_test(a_full_queue_refuses),
    };
    return cmocka_run_group_tests(tests, make_keys, remove_keys);
}
