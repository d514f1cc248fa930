/* OpenSSL's failures in the words of Go's crypto/tls, which etcd's logs and clients show. */
#include "net/tls_internal.h"

#include "base/memory.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <time.h>

/* Go's names of the alerts that a peer may send. */
static const struct {
    int number;
    const char *name;
} alerts[] = {
    {0, "close notify"},
    {10, "unexpected message"},
    {20, "bad record MAC"},
    {21, "decryption failed"},
    {22, "record overflow"},
    {30, "decompression failure"},
    {40, "handshake failure"},
    {42, "bad certificate"},
    {43, "unsupported certificate"},
    {44, "revoked certificate"},
    {45, "expired certificate"},
    {46, "unknown certificate"},
    {47, "illegal parameter"},
    {48, "unknown certificate authority"},
    {49, "access denied"},
    {50, "error decoding message"},
    {51, "error decrypting message"},
    {60, "export restriction"},
    {70, "protocol version not supported"},
    {71, "insufficient security level"},
    {80, "internal error"},
    {86, "inappropriate fallback"},
    {90, "user canceled"},
    {100, "no renegotiation"},
    {109, "missing extension"},
    {110, "unsupported extension"},
    {111, "certificate unobtainable"},
    {112, "unrecognized name"},
    {113, "bad certificate status response"},
    {114, "bad certificate hash value"},
    {115, "unknown PSK identity"},
    {116, "certificate required"},
    {120, "no application protocol"},
};

/* Failures on this side. */
static const struct {
    int reason;
    const char *text;
} reasons[] = {
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "tls: client didn't provide a certificate"},
    {SSL_R_NO_SHARED_CIPHER, "tls: no cipher suite supported by both client and server"},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM,
     "tls: peer doesn't support any of the certificate's signature algorithms"},
    {SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, "local error: tls: bad record MAC"},
    {SSL_R_WRONG_VERSION_NUMBER, "tls: first record does not look like a TLS handshake"},
    {SSL_R_HTTP_REQUEST, "tls: first record does not look like a TLS handshake"},
    {SSL_R_UNEXPECTED_MESSAGE, "local error: tls: unexpected message"},
    {SSL_R_NO_APPLICATION_PROTOCOL, "tls: client requested unsupported application protocols"},
    {SSL_R_UNSUPPORTED_PROTOCOL, "tls: server selected unsupported protocol version"},
};

static const char *alert_name(int number)
{
    for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++)
        if (alerts[i].number == number) return alerts[i].name;
    return NULL;
}

static struct error *describe(unsigned long code)
{
    int reason = ERR_GET_REASON(code);
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET) {
        int number = reason - SSL_AD_REASON_OFFSET;
        const char *name = alert_name(number);
        return name == NULL ? error_new(ERROR_UNAVAILABLE, "remote error: tls: alert(%d)", number)
                            : error_new(ERROR_UNAVAILABLE, "remote error: tls: %s", name);
    }
    for (size_t i = 0; ERR_GET_LIB(code) == ERR_LIB_SSL && i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].reason == reason) return error_new(ERROR_INVALID, "%s", reasons[i].text);
    const char *text = ERR_reason_error_string(code);
    return error_new(ERROR_OTHER, "tls: %s", text == NULL ? "the connection failed" : text);
}

struct error *tls_error_take(struct tls_handshake *handshake)
{
    struct error *error = handshake->refusal;
    handshake->refusal = NULL;
    /* The first entry is the cause, the others what followed from it. */
    unsigned long code = ERR_peek_error();
    if (error == NULL) error = code == 0 ? error_new(ERROR_UNAVAILABLE, "unexpected EOF") : describe(code);
    ERR_clear_error();
    return error;
}

/* "2026-11-29T20:29:21Z" */
static void time_text(char text[32], const struct tm *when)
{
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", when);
}

static struct error *out_of_date(const X509 *certificate, bool is_over)
{
    char now_text[32], limit_text[32] = "?";
    struct tm now, limit;
    time_t seconds = time(NULL);
    time_text(now_text, gmtime_r(&seconds, &now));
    const ASN1_TIME *bound = is_over ? X509_get0_notAfter(certificate) : X509_get0_notBefore(certificate);
    if (ASN1_TIME_to_tm(bound, &limit) == 1) time_text(limit_text, &limit);
    return error_new(ERROR_INVALID,
                     "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: "
                     "current time %s is %s %s",
                     now_text, is_over ? "after" : "before", limit_text);
}

struct error *tls_error_verify(int status, const X509 *certificate)
{
    switch (status) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return out_of_date(certificate, status == X509_V_ERR_CERT_HAS_EXPIRED);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return error_new(ERROR_INVALID,
                         "tls: failed to verify certificate: x509: certificate signed by unknown authority");
    case X509_V_ERR_INVALID_PURPOSE:
        return error_new(ERROR_INVALID, "tls: failed to verify certificate: x509: certificate specifies an "
                                        "incompatible key usage");
    default:
        return error_new(ERROR_INVALID, "tls: failed to verify certificate: x509: %s",
                         X509_verify_cert_error_string(status));
    }
}
