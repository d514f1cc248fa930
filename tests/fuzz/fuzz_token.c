/* Arbitrary bytes as a token. Nobody gets in: a simple one must be one that was given, a signed one must have
 * been signed with the secret, which no input knows but the seeds; and whatever it says, signed, is read
 * without harm. */
#include "auth/tokens.h"
#include "base/text.h"
#include "server/jwt.h"

#include "tests/fuzz/fuzz.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SECRET "the fuzzer's secret"
#define GIVEN  BYTES_LITERAL("UhdgKbOoZmIsWFUz.7")

enum { NOW = 1000000 };

/* HS256 with a secret that lies in memory only. */
static struct jwt *the_jwt(void)
{
    static struct jwt *jwt;
    char path[64];
    if (jwt != NULL) return jwt;
    int file = memfd_create("secret", MFD_CLOEXEC);
    FUZZ_CHECK(file >= 0 && write(file, SECRET, sizeof(SECRET) - 1) == sizeof(SECRET) - 1);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    struct error *error = jwt_new(
        &(const struct jwt_options){.method = "HS256", .private_key = path, .public_key = "", .ttl = 1},
        &jwt);
    FUZZ_CHECK(error == NULL);
    close(file);
    return jwt;
}

static void append_part(struct buf *out, struct bytes part)
{
    size_t begin = out->size;
    text_base64(out, part);
    while (out->size > begin && out->data[out->size - 1] == '=') out->size--;
    for (size_t i = begin; i < out->size; i++) {
        if (out->data[i] == '+') out->data[i] = '-';
        if (out->data[i] == '/') out->data[i] = '_';
    }
}

static void append_signature(struct buf *out, size_t begin)
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    FUZZ_CHECK(HMAC(EVP_sha256(), SECRET, sizeof(SECRET) - 1, out->data + begin, out->size - begin, mac,
                    &size) != NULL);
    buf_append_byte(out, '.');
    append_part(out, bytes_of(mac, size));
}

bool fuzz_seed(size_t number, struct buf *out)
{
    const struct jwt_claims claims = {.user = BYTES_LITERAL("ann"), .revision = 5};
    switch (number) {
    case 0:
        return jwt_sign(the_jwt(), &claims, NOW, out);
    case 1:
        buf_append_bytes(out, GIVEN);
        return true;
    case 2:
        buf_append_string(
            out, "{\"username\":\"ann\",\"revision\":18446744073709551615,\"exp\":1e308,\"nbf\":-1}");
        return true;
    case 3:
        buf_append_string(out, "{\"username\":\"a\\u0000b\",\"revision\":1.5e19,\"exp\":0}");
        return true;
    default:
        return false;
    }
}

static void as_simple_token(struct bytes input)
{
    struct auth_tokens *tokens = auth_tokens_new(1);
    struct bytes user;
    uint64_t index;
    (void)auth_token_index(input, &index);
    auth_tokens_assign(tokens, GIVEN, BYTES_LITERAL("ann"), 0);
    FUZZ_CHECK(auth_tokens_use(tokens, input, 0, &user) == bytes_equal(input, GIVEN));
    auth_tokens_free(tokens);
}

/* Whether the last part is the signature of what is before it, by another way than the product's. */
static bool is_signed(struct bytes input)
{
    struct buf expected = {0};
    const uint8_t *dot = input.size == 0 ? NULL : memrchr(input.data, '.', input.size);
    if (dot == NULL) return false;
    buf_append(&expected, input.data, (size_t)(dot - input.data));
    append_signature(&expected, 0);
    struct buf given = {0}, right = {0};
    struct bytes last = bytes_of(dot + 1, input.size - (size_t)(dot - input.data) - 1);
    struct bytes made =
        bytes_of(expected.data + (dot - input.data) + 1, expected.size - (size_t)(dot - input.data) - 1);
    bool same = text_parse_base64(last, &given) && text_parse_base64(made, &right) &&
                bytes_equal(buf_bytes(&given), buf_bytes(&right));
    buf_deinit(&given);
    buf_deinit(&right);
    buf_deinit(&expected);
    return same;
}

static void as_signed_token(struct bytes input)
{
    struct arena *arena = arena_new();
    struct jwt_claims claims;
    if (jwt_verify(the_jwt(), input, NOW, arena, &claims)) FUZZ_CHECK(is_signed(input));
    arena_free(arena);
}

/* As if whoever holds the key were out of his mind. */
static void as_signed_payload(struct bytes input)
{
    struct arena *arena = arena_new();
    struct buf token = {0};
    struct jwt_claims claims;
    append_part(&token, BYTES_LITERAL("{\"alg\":\"HS256\"}"));
    buf_append_byte(&token, '.');
    append_part(&token, input);
    append_signature(&token, 0);
    if (jwt_verify(the_jwt(), buf_bytes(&token), NOW, arena, &claims))
        FUZZ_CHECK(claims.user.size == 0 || claims.user.data != NULL);
    buf_deinit(&token);
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    as_simple_token(input);
    as_signed_token(input);
    as_signed_payload(input);
    return 0;
}
