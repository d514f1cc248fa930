/* Names in certificates: arbitrary bytes as a pattern and a host, and as a certificate. Never a crash; a name
 * without "*" matches at most itself; a certificate is never valid for a host that none of its names spells.
 */
#include "base/memory.h"
#include "net/tls_names.h"
#include "tests/fuzz/fuzz.h"
#include "tests/net/certificates.h"

#include <ctype.h>
#include <strings.h>

static struct bytes without_final_dot(struct bytes name)
{
    if (name.size > 0 && name.data[name.size - 1] == '.') name.size--;
    return name;
}

static bool equal_ignoring_case(struct bytes a, struct bytes b)
{
    return a.size == b.size && strncasecmp((const char *)a.data, (const char *)b.data, a.size) == 0;
}

/* What stands behind the first dot. */
static struct bytes parent(struct bytes name)
{
    const uint8_t *dot = name.size == 0 ? NULL : memchr(name.data, '.', name.size);
    return dot == NULL ? BYTES_EMPTY : bytes_of(dot, (size_t)(name.data + name.size - dot));
}

static void check_match(struct bytes pattern, struct bytes host)
{
    if (!tls_names_match(pattern, host)) return;
    if (equal_ignoring_case(pattern, host) || equal_ignoring_case(pattern, without_final_dot(host))) return;
    FUZZ_CHECK(pattern.size > 2 && pattern.data[0] == '*' && pattern.data[1] == '.');
    host = without_final_dot(host);
    FUZZ_CHECK(equal_ignoring_case(parent(pattern), parent(host)));
    FUZZ_CHECK(host.data[0] != '.');
}

static void check_certificate(X509 *certificate, const char *host)
{
    struct tls_names names = {0};
    tls_names_read(certificate, &names);
    char *common = tls_names_common(certificate);
    if (common != NULL) FUZZ_CHECK(*common != '\0');
    struct error *error = tls_names_check(certificate, host);
    if (error == NULL) FUZZ_CHECK(names.dns_count + names.ip_count > 0);
    if (error == NULL && !tls_names_is_ip(host) && host[0] != '[') FUZZ_CHECK(names.dns_count > 0);
    error_free(error);
    free(common);
    tls_names_deinit(&names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    /* First a byte that says how long the host is, then the host, then pattern or certificate. */
    size_t host_size = data[0] < size - 1 ? data[0] : size - 1;
    struct bytes host = bytes_of(data + 1, host_size),
                 rest = bytes_of(data + 1 + host_size, size - 1 - host_size);
    check_match(rest, host);
    check_match(host, rest);
    const unsigned char *at = rest.data;
    X509 *certificate = rest.size == 0 ? NULL : d2i_X509(NULL, &at, (long)rest.size);
    if (certificate == NULL) return 0;
    char *text = mem_printf("%.*s", (int)host.size, (const char *)host.data);
    check_certificate(certificate, text);
    free(text);
    X509_free(certificate);
    return 0;
}

bool fuzz_seed(size_t number, struct buf *out)
{
    static const char *const pairs[][2] = {{"a.example.com", "*.example.com"},
                                           {"example.com.", "Example.COM"},
                                           {"*", "*"},
                                           {"a..b", "a..b"}};
    static const char *const alternatives[] = {"DNS:*.b.test,IP:127.0.0.1,IP:::1,email:a@b", NULL,
                                               "DNS:a.b.test"};
    enum { PAIRS = sizeof(pairs) / sizeof(pairs[0]), CERTIFICATES = 3 };
    if (number < PAIRS) {
        buf_append_byte(out, (uint8_t)strlen(pairs[number][0]));
        buf_append_string(out, pairs[number][0]);
        buf_append_string(out, pairs[number][1]);
        return true;
    }
    if (number >= PAIRS + CERTIFICATES) return false;
    struct authority authority;
    authority_init(&authority, "a");
    X509 *certificate =
        authority_issue(&authority,
                        &(struct certificate_request){.name = "a.b.test",
                                                      .alternatives = alternatives[number - PAIRS]},
                        NULL);
    unsigned char *der = NULL;
    int size = i2d_X509(certificate, &der);
    buf_append_byte(out, 8);
    buf_append_string(out, "a.b.test");
    if (size > 0) buf_append(out, der, (size_t)size);
    OPENSSL_free(der);
    X509_free(certificate);
    authority_deinit(&authority);
    return true;
}
