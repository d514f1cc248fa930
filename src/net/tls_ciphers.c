#include "net/tls_ciphers.h"

#include <ctype.h>
#include <openssl/ssl.h>

/* Level 1 of OpenSSL's security levels is what Go demands: RSA from 1024 bits, no SHA-1 signatures. */
#define LEVEL ":@SECLEVEL=1"

const char tls_ciphers_default[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                   "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                   "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
                                   "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
                                   "ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA" LEVEL;
const char tls_ciphers_1_3[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

static const struct {
    const char *go, *openssl; /* openssl NULL: one of TLS 1.3's, always there */
} suites[] = {
    {"TLS_AES_128_GCM_SHA256", NULL},
    {"TLS_AES_256_GCM_SHA384", NULL},
    {"TLS_CHACHA20_POLY1305_SHA256", NULL},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA"},
    {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA"},
    {"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA"},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256"},
    {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256"},
    {"TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", "ECDHE-ECDSA-RC4-SHA"},
    {"TLS_ECDHE_RSA_WITH_RC4_128_SHA", "ECDHE-RSA-RC4-SHA"},
    {"TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", "ECDHE-RSA-DES-CBC3-SHA"},
    {"TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256"},
    {"TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"},
    {"TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA"},
    {"TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA"},
    {"TLS_RSA_WITH_AES_128_CBC_SHA256", "AES128-SHA256"},
    {"TLS_RSA_WITH_3DES_EDE_CBC_SHA", "DES-CBC3-SHA"},
    {"TLS_RSA_WITH_RC4_128_SHA", "RC4-SHA"},
};
enum { SUITES = sizeof(suites) / sizeof(suites[0]) };

static size_t find(struct bytes name)
{
    size_t i = 0;
    while (i < SUITES && !bytes_equal(name, bytes_from_string(suites[i].go))) i++;
    return i;
}

static struct error *unknown(struct bytes name)
{
    struct buf known = {0};
    for (size_t i = 0; i < SUITES; i++) buf_printf(&known, "%s%s", i == 0 ? "" : ", ", suites[i].go);
    struct error *error = error_new(ERROR_INVALID, "unexpected TLS cipher suite \"%.*s\" (there are: %s)",
                                    (int)name.size, (const char *)name.data, buf_string(&known));
    buf_deinit(&known);
    return error;
}

/* Whether this OpenSSL, as it was built, has the suite. */
static bool is_served(SSL_CTX *context, const char *openssl)
{
    struct buf list = {0};
    buf_printf(&list, "%s" LEVEL, openssl);
    bool served = SSL_CTX_set_cipher_list(context, buf_string(&list)) == 1;
    buf_deinit(&list);
    return served;
}

static struct bytes next_name(const char **rest)
{
    size_t size = strcspn(*rest, ",");
    struct bytes name = bytes_of(*rest, size);
    *rest += size + ((*rest)[size] == ',');
    while (name.size > 0 && isspace(name.data[0])) name = bytes_of(name.data + 1, name.size - 1);
    while (name.size > 0 && isspace(name.data[name.size - 1])) name.size--;
    return name;
}

static struct error *translate(SSL_CTX *context, const char *names, struct buf *list, struct buf *missing)
{
    bool only_new = true;
    while (*names != '\0') {
        struct bytes name = next_name(&names);
        size_t i = find(name);
        if (i == SUITES) return unknown(name);
        if (suites[i].openssl == NULL) continue;
        only_new = false;
        if (is_served(context, suites[i].openssl))
            buf_printf(list, "%s%s", list->size == 0 ? "" : ":", suites[i].openssl);
        else if (missing != NULL)
            buf_printf(missing, "%s%s", missing->size == 0 ? "" : ",", suites[i].go);
    }
    if (list->size == 0 && !only_new)
        return error_new(ERROR_INVALID,
                         "none of the cipher suites is in this OpenSSL; choose others in --cipher-suites");
    if (list->size > 0) buf_append_string(list, LEVEL);
    return NULL;
}

struct error *tls_ciphers_translate(const char *names, struct buf *list, struct buf *missing)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    if (context == NULL) return error_new(ERROR_OTHER, "out of memory for TLS");
    struct error *error = translate(context, names, list, missing);
    SSL_CTX_free(context);
    return error;
}
