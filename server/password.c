#include "server/password.h"

#include "base/memory.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    HASH_SIZE = 60,
    PREFIX_SIZE = 7,   /* "$2a$10$" */
    SETTING_SIZE = 29, /* and the salt */
    VERSION_PLACE = 2,
    TOKEN_LETTERS = 16,
};

/* The version letter by which this library computes what every other implementation does for 'a': with 'a'
 * itself it works around a bug that one of them had. */
#define COMPUTED_AS 'y'
#define STORED_AS   'a'

/* crypt(3) with bcrypt. `setting` is a prefix and salt, or a whole hash; `hash` gets HASH_SIZE bytes. */
static bool compute(struct bytes password, const char setting[SETTING_SIZE + 1], char hash[HASH_SIZE])
{
    char text[PASSWORD_SIZE_MAX + 1];
    size_t size = password.size < PASSWORD_SIZE_MAX ? password.size : PASSWORD_SIZE_MAX;
    if (size > 0 && memchr(password.data, 0, size) != NULL) return false;
    if (size > 0) memcpy(text, password.data, size);
    text[size] = '\0';
    struct crypt_data *data = mem_zalloc(1, sizeof(*data));
    const char *result = crypt_r(text, setting, data);
    bool good = result != NULL && strlen(result) == HASH_SIZE;
    if (good) memcpy(hash, result, HASH_SIZE);
    OPENSSL_cleanse(text, sizeof(text));
    OPENSSL_cleanse(data, sizeof(*data));
    free(data);
    return good;
}

static bool hash_with(struct bytes password, unsigned cost, const uint8_t salt[PASSWORD_SALT_SIZE],
                      struct buf *hash)
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE], computed[HASH_SIZE];
    if (password.size > PASSWORD_SIZE_MAX) return false;
    if (crypt_gensalt_rn("$2y$", cost, (const char *)salt, PASSWORD_SALT_SIZE, setting, sizeof(setting)) ==
            NULL ||
        !compute(password, setting, computed))
        return false;
    computed[VERSION_PLACE] = STORED_AS;
    buf_append(hash, computed, HASH_SIZE);
    return true;
}

static void random_bytes(uint8_t *bytes, size_t size)
{
    if (RAND_bytes(bytes, (int)size) != 1) abort(); /* no secrets can be made here */
}

bool password_hash(struct bytes password, unsigned cost, struct buf *hash)
{
    uint8_t salt[PASSWORD_SALT_SIZE];
    random_bytes(salt, sizeof(salt));
    return hash_with(password, cost, salt, hash);
}

void password_hash_salted(struct bytes password, const uint8_t salt[PASSWORD_SALT_SIZE], struct buf *hash)
{
    (void)hash_with(password, PASSWORD_COST_DEFAULT, salt, hash);
}

/* "$2?$NN$" of any version, as Go takes them. */
static bool is_hash(struct bytes hash)
{
    return hash.size == HASH_SIZE && hash.data[0] == '$' && hash.data[1] == '2' && hash.data[3] == '$' &&
           hash.data[PREFIX_SIZE - 1] == '$';
}

bool password_matches(struct bytes password, struct bytes hash)
{
    char setting[SETTING_SIZE + 1], computed[HASH_SIZE];
    if (!is_hash(hash)) return false;
    memcpy(setting, hash.data, SETTING_SIZE);
    setting[SETTING_SIZE] = '\0';
    setting[VERSION_PLACE] = COMPUTED_AS;
    if (!compute(password, setting, computed)) return false;
    return CRYPTO_memcmp(computed + PREFIX_SIZE, hash.data + PREFIX_SIZE, HASH_SIZE - PREFIX_SIZE) == 0;
}

void password_waste_time(unsigned cost)
{
    static const uint8_t salt[PASSWORD_SALT_SIZE];
    struct buf hash = {0};
    (void)hash_with(BYTES_LITERAL("nobody"), cost, salt, &hash);
    buf_deinit(&hash);
}

/* Without favouring any letter: bytes from the last incomplete run of the alphabet are thrown away. */
void password_token_prefix(struct buf *out)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    enum { LETTERS = sizeof(letters) - 1, FAIR = 256 / LETTERS * LETTERS };
    for (size_t i = 0; i < TOKEN_LETTERS;) {
        uint8_t byte;
        random_bytes(&byte, 1);
        if (byte >= FAIR) continue;
        buf_append_byte(out, (uint8_t)letters[byte % LETTERS]);
        i++;
    }
}
