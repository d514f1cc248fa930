#include "net/tls_names.h"

#include "base/memory.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

enum { IP_NAME_SIZE = INET6_ADDRSTRLEN, HOST_MAX = 255, NAMES_SHOWN = 100 };

/* ---- matching ---- */

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

static bool equal_ignoring_case(struct bytes a, struct bytes b)
{
    if (a.size != b.size) return false;
    for (size_t i = 0; i < a.size; i++)
        if (lower(a.data[i]) != lower(b.data[i])) return false;
    return true;
}

/* Cuts the first label off; false when there is none left. */
static bool next_label(struct bytes *rest, struct bytes *label)
{
    if (rest->data == NULL) return false;
    const uint8_t *dot = rest->size == 0 ? NULL : memchr(rest->data, '.', rest->size);
    size_t size = dot == NULL ? rest->size : (size_t)(dot - rest->data);
    *label = bytes_of(rest->data, size);
    *rest = dot == NULL ? bytes_of(NULL, 0) : bytes_of(dot + 1, rest->size - size - 1);
    return true;
}

static struct bytes without_final_dot(struct bytes name)
{
    return name.size > 0 && name.data[name.size - 1] == '.' ? bytes_of(name.data, name.size - 1) : name;
}

static bool is_valid_label(struct bytes label)
{
    for (size_t i = 0; i < label.size; i++) {
        uint8_t byte = label.data[i];
        bool ok = isalnum(byte) || byte == '_' || (byte == '-' && i > 0);
        if (!ok || byte >= 0x80) return false;
    }
    return label.size > 0;
}

/* Letters, digits, '-' and '_' in labels; a pattern may begin with a label "*". */
static bool is_valid_name(struct bytes name, bool is_pattern)
{
    if (!is_pattern) name = without_final_dot(name);
    if (name.size == 0 || bytes_equal(name, BYTES_LITERAL("*"))) return false;
    struct bytes label;
    for (bool first = true; next_label(&name, &label); first = false)
        if (!(is_pattern && first && bytes_equal(label, BYTES_LITERAL("*"))) && !is_valid_label(label))
            return false;
    return true;
}

bool tls_names_match(struct bytes pattern, struct bytes host)
{
    if (host.size == 0 || pattern.size == 0) return false;
    if (!is_valid_name(host, false) || !is_valid_name(pattern, true))
        return !bytes_equal(host, BYTES_LITERAL(".")) && equal_ignoring_case(pattern, host);
    host = without_final_dot(host);
    struct bytes wanted, label;
    for (bool first = true;; first = false) {
        bool more = next_label(&pattern, &wanted);
        if (more != next_label(&host, &label)) return false;
        if (!more) return true;
        if (first && bytes_equal(wanted, BYTES_LITERAL("*"))) continue;
        if (!equal_ignoring_case(wanted, label)) return false;
    }
}

/* ---- reading certificates ---- */

static void add(char ***list, size_t *count, char *name)
{
    *list = mem_realloc(*list, (*count + 1) * sizeof(**list));
    (*list)[(*count)++] = name;
}

static void add_dns(struct tls_names *names, const ASN1_STRING *name)
{
    const uint8_t *data = ASN1_STRING_get0_data(name);
    int size = ASN1_STRING_length(name);
    if (size < 0 || (size > 0 && memchr(data, 0, (size_t)size) != NULL)) return;
    add(&names->dns, &names->dns_count, mem_printf("%.*s", size, size == 0 ? "" : (const char *)data));
}

static void add_ip(struct tls_names *names, const ASN1_STRING *address)
{
    char text[IP_NAME_SIZE];
    const uint8_t *data = ASN1_STRING_get0_data(address);
    int size = ASN1_STRING_length(address);
    if (size != 4 && size != 16) return;
    if (size == 16 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)data))
        inet_ntop(AF_INET, data + 12, text, sizeof(text));
    else
        inet_ntop(size == 4 ? AF_INET : AF_INET6, data, text, sizeof(text));
    add(&names->ip, &names->ip_count, mem_strdup(text));
}

void tls_names_read(const struct x509_st *certificate, struct tls_names *names)
{
    GENERAL_NAMES *list = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(list); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(list, i);
        if (name->type == GEN_DNS)
            add_dns(names, name->d.dNSName);
        else if (name->type == GEN_IPADD)
            add_ip(names, name->d.iPAddress);
    }
    GENERAL_NAMES_free(list);
}

void tls_names_deinit(struct tls_names *names)
{
    for (size_t i = 0; i < names->dns_count; i++) free(names->dns[i]);
    for (size_t i = 0; i < names->ip_count; i++) free(names->ip[i]);
    free(names->dns);
    free(names->ip);
    *names = (struct tls_names){0};
}

char *tls_names_common(const struct x509_st *certificate)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int last = -1, next;
    while ((next = X509_NAME_get_index_by_NID(subject, NID_commonName, last)) >= 0) last = next;
    if (last < 0) return NULL;
    unsigned char *text = NULL;
    int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
    char *name = NULL;
    if (size > 0 && memchr(text, 0, (size_t)size) == NULL) name = mem_printf("%.*s", size, (char *)text);
    OPENSSL_free(text);
    return name;
}

/* ---- hosts ---- */

/* The address in the form of tls_names.ip. */
static bool read_ip(const char *host, char text[IP_NAME_SIZE])
{
    struct in6_addr v6;
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        inet_ntop(AF_INET, &v4, text, IP_NAME_SIZE);
    } else if (inet_pton(AF_INET6, host, &v6) == 1) {
        if (IN6_IS_ADDR_V4MAPPED(&v6))
            inet_ntop(AF_INET, &v6.s6_addr[12], text, IP_NAME_SIZE);
        else
            inet_ntop(AF_INET6, &v6, text, IP_NAME_SIZE);
    } else {
        return false;
    }
    return true;
}

bool tls_names_is_ip(const char *host)
{
    char text[IP_NAME_SIZE];
    return read_ip(host, text);
}

static struct error *refuse(const char *host, bool is_ip, const struct tls_names *names)
{
    char *const *list = is_ip ? names->ip : names->dns;
    size_t count = is_ip ? names->ip_count : names->dns_count;
    if (is_ip && count == 0)
        return error_new(ERROR_INVALID,
                         "x509: cannot validate certificate for %s because it doesn't contain any IP SANs",
                         host);
    if (count == 0)
        return error_new(ERROR_INVALID,
                         "x509: certificate is not valid for any names, but wanted to match %s", host);
    if (count >= NAMES_SHOWN)
        return error_new(ERROR_INVALID, "x509: certificate is valid for %zu names, but none matched %s",
                         count, host);
    struct buf valid = {0};
    for (size_t i = 0; i < count; i++) buf_printf(&valid, "%s%s", i == 0 ? "" : ", ", list[i]);
    struct error *error =
        error_new(ERROR_INVALID, "x509: certificate is valid for %s, not %s", buf_string(&valid), host);
    buf_deinit(&valid);
    return error;
}

/* Without SANs, a common name that would have matched is worth a hint. */
static bool relies_on_common_name(const struct x509_st *certificate, const char *host)
{
    if (X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1) >= 0) return false;
    char *name = tls_names_common(certificate);
    bool matches = name != NULL && tls_names_match(bytes_from_string(name), bytes_from_string(host));
    free(name);
    return matches;
}

struct error *tls_names_check(const struct x509_st *certificate, const char *host)
{
    struct tls_names names = {0};
    char bare[HOST_MAX + 1], ip[IP_NAME_SIZE];
    size_t size = strlen(host);
    bool bracketed = size >= 3 && size < sizeof(bare) && host[0] == '[' && host[size - 1] == ']';
    if (bracketed) snprintf(bare, sizeof(bare), "%.*s", (int)(size - 2), host + 1);
    bool is_ip = read_ip(bracketed ? bare : host, ip), found = false;
    tls_names_read(certificate, &names);
    for (size_t i = 0; is_ip && !found && i < names.ip_count; i++) found = strcmp(names.ip[i], ip) == 0;
    for (size_t i = 0; !is_ip && !found && i < names.dns_count; i++)
        found = tls_names_match(bytes_from_string(names.dns[i]), bytes_from_string(host));
    struct error *error = NULL;
    if (!found && !is_ip && relies_on_common_name(certificate, host))
        error = error_new(ERROR_INVALID,
                          "x509: certificate relies on legacy Common Name field, use SANs instead");
    else if (!found)
        error = refuse(host, is_ip, &names);
    tls_names_deinit(&names);
    return error;
}
