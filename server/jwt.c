#include "server/jwt.h"

#include "base/memory.h"
#include "base/text.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#define SECOND INT64_C(1000000000)

enum {
    KEY_FILE_MAX = 1 << 20,
    SIGNATURE_MAX = 2048, /* RSA with 16384 bits */
};

enum family { FAMILY_HMAC, FAMILY_RSA, FAMILY_RSA_PSS, FAMILY_ECDSA, FAMILY_ED25519 };

struct method {
    const char *name;
    enum family family;
    const EVP_MD *(*digest)(void);
    size_t number_size; /* ECDSA: bytes of each of the signature's two numbers */
    int bits;           /* ECDSA: of the curve */
};

static const struct method methods[] = {
    {"RS256", FAMILY_RSA, EVP_sha256, 0, 0},      {"RS384", FAMILY_RSA, EVP_sha384, 0, 0},
    {"RS512", FAMILY_RSA, EVP_sha512, 0, 0},      {"PS256", FAMILY_RSA_PSS, EVP_sha256, 0, 0},
    {"PS384", FAMILY_RSA_PSS, EVP_sha384, 0, 0},  {"PS512", FAMILY_RSA_PSS, EVP_sha512, 0, 0},
    {"ES256", FAMILY_ECDSA, EVP_sha256, 32, 256}, {"ES384", FAMILY_ECDSA, EVP_sha384, 48, 384},
    {"ES512", FAMILY_ECDSA, EVP_sha512, 66, 521}, {"HS256", FAMILY_HMAC, EVP_sha256, 0, 0},
    {"HS384", FAMILY_HMAC, EVP_sha384, 0, 0},     {"HS512", FAMILY_HMAC, EVP_sha512, 0, 0},
    {"EdDSA", FAMILY_ED25519, NULL, 0, 0},
};

struct jwt {
    const struct method *method;
    EVP_PKEY *key; /* NULL with HMAC */
    bool is_private;
    struct buf secret; /* HMAC */
    int64_t ttl;
};

/* ---- keys ---- */

static struct error *read_file(const char *path, struct buf *content)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) return error_new(ERROR_NOT_FOUND, "open %s: %s", path, strerror(errno));
    size_t got = fread(buf_reserve(content, KEY_FILE_MAX), 1, KEY_FILE_MAX, file);
    bool failed = ferror(file) != 0;
    content->size += got;
    fclose(file);
    return failed ? error_new(ERROR_IO, "read %s: %s", path, strerror(errno)) : NULL;
}

static int no_passphrase(char *buffer, int size, int writing, void *context)
{
    (void)buffer, (void)size, (void)writing, (void)context;
    return 0;
}

/* A public key, or the one in a certificate. */
static EVP_PKEY *parse_public_key(BIO *pem)
{
    EVP_PKEY *key = PEM_read_bio_PUBKEY(pem, NULL, no_passphrase, NULL);
    if (key != NULL) return key;
    (void)BIO_reset(pem);
    X509 *certificate = PEM_read_bio_X509(pem, NULL, no_passphrase, NULL);
    if (certificate != NULL) key = X509_get_pubkey(certificate);
    X509_free(certificate);
    return key;
}

static bool fits(const struct method *method, EVP_PKEY *key)
{
    switch (method->family) {
    case FAMILY_RSA:
    case FAMILY_RSA_PSS:
        return EVP_PKEY_base_id(key) == EVP_PKEY_RSA;
    case FAMILY_ECDSA:
        return EVP_PKEY_base_id(key) == EVP_PKEY_EC && EVP_PKEY_bits(key) == method->bits;
    case FAMILY_ED25519:
        return EVP_PKEY_base_id(key) == EVP_PKEY_ED25519;
    case FAMILY_HMAC:
        break;
    }
    return false;
}

static struct error *read_key(const struct method *method, const char *path, bool is_private, EVP_PKEY **key)
{
    struct buf content = {0};
    if (*path == '\0') return NULL;
    struct error *error = read_file(path, &content);
    if (error == NULL) {
        BIO *pem = BIO_new_mem_buf(content.data, (int)content.size);
        *key = is_private ? PEM_read_bio_PrivateKey(pem, NULL, no_passphrase, NULL) : parse_public_key(pem);
        BIO_free(pem);
        ERR_clear_error();
        if (*key == NULL)
            error = error_new(ERROR_INVALID, "%s holds no %s key in PEM form", path,
                              is_private ? "private" : "public");
        else if (!fits(method, *key))
            error = error_new(ERROR_INVALID, "the key in %s is not one for %s", path, method->name);
    }
    if (content.data != NULL) OPENSSL_cleanse(content.data, content.capacity);
    buf_deinit(&content);
    return error;
}

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#define EVP_PKEY_eq EVP_PKEY_cmp
#endif

static struct error *read_keys(struct jwt *jwt, const struct jwt_options *options)
{
    EVP_PKEY *private_key = NULL, *public_key = NULL;
    struct error *error = read_key(jwt->method, options->private_key, true, &private_key);
    if (error == NULL) error = read_key(jwt->method, options->public_key, false, &public_key);
    if (error == NULL && private_key == NULL && public_key == NULL)
        error = error_new(ERROR_INVALID, "auth: missing key data");
    if (error == NULL && private_key != NULL && public_key != NULL &&
        EVP_PKEY_eq(private_key, public_key) != 1)
        error = error_new(ERROR_INVALID, "auth: public and private keys don't match");
    jwt->is_private = private_key != NULL;
    jwt->key = private_key != NULL ? private_key : public_key;
    if (private_key != NULL) EVP_PKEY_free(public_key);
    return error;
}

static struct error *read_secret(struct jwt *jwt, const struct jwt_options *options)
{
    if (*options->private_key != '\0') TRY(read_file(options->private_key, &jwt->secret));
    jwt->is_private = true;
    return jwt->secret.size > 0 ? NULL : error_new(ERROR_INVALID, "auth: missing key data");
}

static const struct method *find_method(const char *name)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (strcmp(methods[i].name, name) == 0) return &methods[i];
    return NULL;
}

struct error *jwt_new(const struct jwt_options *options, struct jwt **result)
{
    const struct method *method = find_method(options->method);
    if (method == NULL) return error_new(ERROR_INVALID, "auth: invalid auth options");
    struct jwt *jwt = mem_zalloc(1, sizeof(*jwt));
    jwt->method = method;
    jwt->ttl = options->ttl;
    struct error *error = method->family == FAMILY_HMAC ? read_secret(jwt, options) : read_keys(jwt, options);
    if (error != NULL) {
        jwt_free(jwt);
        return error;
    }
    *result = jwt;
    return NULL;
}

void jwt_free(struct jwt *jwt)
{
    if (jwt == NULL) return;
    if (jwt->secret.data != NULL) OPENSSL_cleanse(jwt->secret.data, jwt->secret.capacity);
    buf_deinit(&jwt->secret);
    EVP_PKEY_free(jwt->key);
    free(jwt);
}

bool jwt_can_sign(const struct jwt *jwt)
{
    return jwt->is_private;
}

/* ---- signatures ---- */

static const EVP_MD *digest_of(const struct method *method)
{
    return method->digest == NULL ? NULL : method->digest();
}

static bool set_padding(const struct method *method, EVP_PKEY_CTX *context, bool verifying)
{
    if (method->family != FAMILY_RSA_PSS) return true;
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(context,
                                            verifying ? RSA_PSS_SALTLEN_AUTO : RSA_PSS_SALTLEN_DIGEST) == 1;
}

static bool hmac(const struct jwt *jwt, struct bytes text, uint8_t mac[EVP_MAX_MD_SIZE], unsigned *size)
{
    return HMAC(digest_of(jwt->method), jwt->secret.data, (int)jwt->secret.size, text.data, text.size, mac,
                size) != NULL;
}

/* OpenSSL has the two numbers of an ECDSA signature in DER, a JWT one behind the other. */
static bool numbers_to_der(const struct method *method, struct bytes numbers, uint8_t **der, size_t *der_size)
{
    if (numbers.size != 2 * method->number_size) return false;
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(numbers.data, (int)method->number_size, NULL),
           *s = BN_bin2bn(numbers.data + method->number_size, (int)method->number_size, NULL);
    ECDSA_SIG_set0(signature, r, s);
    int size = i2d_ECDSA_SIG(signature, der);
    ECDSA_SIG_free(signature);
    *der_size = size > 0 ? (size_t)size : 0;
    return size > 0;
}

static bool der_to_numbers(const struct method *method, struct bytes der, struct buf *numbers)
{
    const unsigned char *at = der.data;
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)der.size);
    if (signature == NULL) return false;
    int half = (int)method->number_size;
    uint8_t *out = buf_reserve(numbers, 2 * method->number_size);
    bool good = BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, half) == half &&
                BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + half, half) == half;
    if (good) numbers->size += 2 * method->number_size;
    ECDSA_SIG_free(signature);
    return good;
}

static bool verify_with_key(const struct jwt *jwt, struct bytes text, struct bytes signature)
{
    uint8_t *der = NULL;
    size_t der_size = 0;
    EVP_PKEY_CTX *key = NULL;
    if (jwt->method->family == FAMILY_ECDSA) {
        if (!numbers_to_der(jwt->method, signature, &der, &der_size)) return false;
        signature = bytes_of(der, der_size);
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = EVP_DigestVerifyInit(context, &key, digest_of(jwt->method), NULL, jwt->key) == 1 &&
                set_padding(jwt->method, key, true) &&
                EVP_DigestVerify(context, signature.data, signature.size, text.data, text.size) == 1;
    EVP_MD_CTX_free(context);
    OPENSSL_free(der);
    ERR_clear_error();
    return good;
}

static bool verify(const struct jwt *jwt, struct bytes text, struct bytes signature)
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (jwt->method->family != FAMILY_HMAC) return verify_with_key(jwt, text, signature);
    return hmac(jwt, text, mac, &size) && signature.size == size &&
           CRYPTO_memcmp(mac, signature.data, size) == 0;
}

static bool sign_with_key(const struct jwt *jwt, struct bytes text, struct buf *signature)
{
    uint8_t made[SIGNATURE_MAX];
    size_t size = sizeof(made);
    EVP_PKEY_CTX *key = NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = EVP_DigestSignInit(context, &key, digest_of(jwt->method), NULL, jwt->key) == 1 &&
                set_padding(jwt->method, key, false) &&
                EVP_DigestSign(context, made, &size, text.data, text.size) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    if (!good) return false;
    if (jwt->method->family == FAMILY_ECDSA)
        return der_to_numbers(jwt->method, bytes_of(made, size), signature);
    buf_append(signature, made, size);
    return true;
}

static bool sign(const struct jwt *jwt, struct bytes text, struct buf *signature)
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (jwt->method->family != FAMILY_HMAC) return sign_with_key(jwt, text, signature);
    if (!hmac(jwt, text, mac, &size)) return false;
    buf_append(signature, mac, size);
    return true;
}

/* ---- the three parts ---- */

static bool decode_part(struct bytes part, struct buf *out)
{
    for (size_t i = 0; i < part.size; i++)
        if (part.data[i] == '+' || part.data[i] == '/' || part.data[i] == '=') return false;
    return text_parse_base64(part, out);
}

static void encode_part(struct bytes content, struct buf *out)
{
    size_t begin = out->size;
    text_base64(out, content);
    while (out->size > begin && out->data[out->size - 1] == '=') out->size--;
    for (size_t i = begin; i < out->size; i++) {
        if (out->data[i] == '+') out->data[i] = '-';
        if (out->data[i] == '/') out->data[i] = '_';
    }
}

static json_t *decode_json(struct bytes part)
{
    struct buf text = {0};
    json_t *json = NULL;
    if (decode_part(part, &text)) json = json_loadb((const char *)text.data, text.size, JSON_ALLOW_NUL, NULL);
    buf_deinit(&text);
    if (json_is_object(json)) return json;
    json_decref(json);
    return NULL;
}

struct parts {
    struct bytes header, payload, signature;
    struct bytes signed_text;
};

static bool split(struct bytes token, struct parts *parts)
{
    const uint8_t *first = token.size == 0 ? NULL : memchr(token.data, '.', token.size);
    if (first == NULL) return false;
    size_t head = (size_t)(first - token.data), rest = token.size - head - 1;
    const uint8_t *second = memchr(first + 1, '.', rest);
    if (second == NULL) return false;
    size_t body = (size_t)(second - token.data);
    if (memchr(second + 1, '.', token.size - body - 1) != NULL) return false;
    parts->header = bytes_of(token.data, head);
    parts->payload = bytes_of(first + 1, body - head - 1);
    parts->signature = bytes_of(second + 1, token.size - body - 1);
    parts->signed_text = bytes_of(token.data, body);
    return true;
}

/* Only the configured algorithm: who makes a token does not choose how it is checked. */
static bool names_method(const struct jwt *jwt, struct bytes header)
{
    json_t *json = decode_json(header);
    const char *name = json_string_value(json_object_get(json, "alg"));
    bool same = name != NULL && strcmp(name, jwt->method->name) == 0;
    json_decref(json);
    return same;
}

/* Absent, or zero: no limit. */
static bool read_time(const json_t *claims, const char *name, double *seconds)
{
    const json_t *value = json_object_get(claims, name);
    *seconds = json_number_value(value);
    return value == NULL || json_is_number(value);
}

static bool is_of_now(const json_t *claims, int64_t now)
{
    double expires, begins;
    if (!read_time(claims, "exp", &expires) || !read_time(claims, "nbf", &begins)) return false;
    return (expires == 0 || (double)now < expires) && (begins == 0 || (double)now >= begins);
}

static uint64_t whole_number(double value)
{
    if (!(value > 0)) return 0;
    return value >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)value;
}

static bool read_claims(const json_t *json, struct arena *arena, struct jwt_claims *claims)
{
    const json_t *user = json_object_get(json, "username"), *revision = json_object_get(json, "revision");
    if (!json_is_string(user) || !json_is_number(revision)) return false;
    claims->user = arena_copy(arena, bytes_of(json_string_value(user), json_string_length(user)));
    claims->revision = json_is_integer(revision) && json_integer_value(revision) >= 0
                           ? (uint64_t)json_integer_value(revision)
                           : whole_number(json_number_value(revision));
    return true;
}

bool jwt_verify(const struct jwt *jwt, struct bytes token, int64_t now, struct arena *arena,
                struct jwt_claims *claims)
{
    struct parts parts;
    struct buf signature = {0};
    if (!split(token, &parts) || !names_method(jwt, parts.header)) return false;
    bool good =
        decode_part(parts.signature, &signature) && verify(jwt, parts.signed_text, buf_bytes(&signature));
    buf_deinit(&signature);
    if (!good) return false;
    json_t *json = decode_json(parts.payload);
    good = json != NULL && is_of_now(json, now) && read_claims(json, arena, claims);
    json_decref(json);
    return good;
}

static void append_json(struct buf *token, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    encode_part(bytes_from_string(text), token);
    free(text);
    json_decref(json);
}

bool jwt_sign(const struct jwt *jwt, const struct jwt_claims *claims, int64_t now, struct buf *token)
{
    struct buf signature = {0};
    size_t begin = token->size;
    if (!jwt->is_private) return false;
    json_t *user = json_stringn((const char *)claims->user.data, claims->user.size);
    if (user == NULL) return false; /* a name that is not UTF-8 */
    append_json(token, json_pack("{s:s,s:s}", "alg", jwt->method->name, "typ", "JWT"));
    buf_append_byte(token, '.');
    append_json(token, json_pack("{s:o,s:I,s:I}", "username", user, "revision", (json_int_t)claims->revision,
                                 "exp", (json_int_t)(now + jwt->ttl / SECOND)));
    bool good = sign(jwt, bytes_of(token->data + begin, token->size - begin), &signature);
    buf_append_byte(token, '.');
    encode_part(buf_bytes(&signature), token);
    buf_deinit(&signature);
    if (!good) token->size = begin;
    return good;
}
