/* What TLS reads from files and flags: lists of revoked certificates and of cipher suites, from arbitrary
 * bytes. Never a crash; a list is taken whole or refused with a reason. */
#include "base/memory.h"
#include "net/tls_ciphers.h"
#include "net/tls_files.h"
#include "tests/fuzz/fuzz.h"
#include "tests/net/certificates.h"

#include <openssl/pem.h>
#include <unistd.h>

static void read_revoked(struct bytes data)
{
    STACK_OF(X509_CRL) *lists = NULL;
    struct error *error = tls_crl_parse(data, &lists);
    FUZZ_CHECK((error == NULL) == (sk_X509_CRL_num(lists) > 0));
    if (error != NULL) FUZZ_CHECK(*error->text != '\0');
    error_free(error);
    sk_X509_CRL_pop_free(lists, X509_CRL_free);
}

static void read_suites(struct bytes data)
{
    char *names = mem_printf("%.*s", (int)data.size, (const char *)data.data);
    struct buf list = {0}, missing = {0};
    struct error *error = tls_ciphers_translate(names, &list, &missing);
    /* Only what the table knows gets through to OpenSSL. */
    if (error == NULL && list.size > 0) FUZZ_CHECK(strstr(buf_string(&list), ":@SECLEVEL=1") != NULL);
    error_free(error);
    buf_deinit(&list);
    buf_deinit(&missing);
    free(names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct bytes rest = bytes_of(data + 1, size - 1);
    if (data[0] % 2 == 0)
        read_revoked(rest);
    else
        read_suites(rest);
    return 0;
}

static void append_list(struct buf *out, bool pem)
{
    char path[] = "/tmp/fuzz_tls.XXXXXX";
    struct authority authority;
    int descriptor = mkstemp(path);
    if (descriptor < 0) return;
    authority_init(&authority, "a");
    authority_revoke(&authority, 4711, path, pem);
    uint8_t text[4096];
    ssize_t size = read(descriptor, text, sizeof(text));
    if (size > 0) buf_append(out, text, (size_t)size);
    close(descriptor);
    unlink(path);
    authority_deinit(&authority);
}

bool fuzz_seed(size_t number, struct buf *out)
{
    buf_append_byte(out, number < 3 ? 0 : 1);
    switch (number) {
    case 0:
    case 1:
        append_list(out, number == 1);
        return true;
    case 2:
        append_list(out, true);
        append_list(out, true);
        return true;
    case 3:
        buf_append_string(out,
                          "TLS_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256,TLS_RSA_WITH_RC4_128_SHA");
        return true;
    case 4:
        buf_append_string(out, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305,,x");
        return true;
    default:
        return false;
    }
}
