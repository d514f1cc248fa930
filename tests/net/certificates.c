#include "tests/net/certificates.h"

#include <assert.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

static void must(int result)
{
    assert(result > 0);
    (void)result;
}

static void extend(X509 *certificate, X509 *issuer, int kind, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    assert(extension != NULL);
    must(X509_add_ext(certificate, extension, -1));
    X509_EXTENSION_free(extension);
}

static X509 *begin(const char *name, EVP_PKEY *key, long serial, long starts, long ends)
{
    X509 *certificate = X509_new();
    must(X509_set_version(certificate, X509_VERSION_3));
    must(ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial));
    X509_gmtime_adj(X509_getm_notBefore(certificate), starts);
    X509_gmtime_adj(X509_getm_notAfter(certificate), ends);
    if (name != NULL)
        must(X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                                        (const unsigned char *)name, -1, -1, 0));
    must(X509_set_pubkey(certificate, key));
    return certificate;
}

void authority_init(struct authority *authority, const char *name)
{
    authority->key = EVP_EC_gen("P-256");
    authority->serial = 100;
    authority->certificate = begin(name, authority->key, 1, -3600, CERTIFICATES_DAY);
    X509 *certificate = authority->certificate;
    must(X509_set_issuer_name(certificate, X509_get_subject_name(certificate)));
    extend(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
    must(X509_sign(certificate, authority->key, EVP_sha256()));
}

void authority_deinit(struct authority *authority)
{
    X509_free(authority->certificate);
    EVP_PKEY_free(authority->key);
}

X509 *authority_issue(struct authority *authority, const struct certificate_request *request, EVP_PKEY **key)
{
    EVP_PKEY *made = EVP_EC_gen("P-256");
    long starts = request->starts, ends = request->ends;
    if (starts == 0 && ends == 0) {
        starts = -3600;
        ends = CERTIFICATES_DAY;
    }
    X509 *certificate = begin(request->name, made, ++authority->serial, starts, ends);
    must(X509_set_issuer_name(certificate, X509_get_subject_name(authority->certificate)));
    if (request->alternatives != NULL)
        extend(certificate, authority->certificate, NID_subject_alt_name, request->alternatives);
    must(X509_sign(certificate, authority->key, EVP_sha256()));
    if (key != NULL)
        *key = made;
    else
        EVP_PKEY_free(made);
    return certificate;
}

void authority_issue_files(struct authority *authority, const struct certificate_request *request,
                           const char *certificate_file, const char *key_file)
{
    EVP_PKEY *key;
    X509 *certificate = authority_issue(authority, request, &key);
    FILE *file = fopen(certificate_file, "w");
    assert(file != NULL);
    must(PEM_write_X509(file, certificate));
    fclose(file);
    file = fopen(key_file, "w");
    assert(file != NULL);
    must(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

void authority_write(const struct authority *authority, const char *path)
{
    FILE *file = fopen(path, "w");
    assert(file != NULL);
    must(PEM_write_X509(file, authority->certificate));
    fclose(file);
}

void authority_revoke(const struct authority *authority, long serial, const char *path, int pem)
{
    X509_CRL *list = X509_CRL_new();
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
    must(ASN1_INTEGER_set(number, serial));
    must(X509_REVOKED_set_serialNumber(entry, number));
    must(X509_REVOKED_set_revocationDate(entry, now));
    must(X509_CRL_set_version(list, X509_CRL_VERSION_2));
    must(X509_CRL_set_issuer_name(list, X509_get_subject_name(authority->certificate)));
    must(X509_CRL_set1_lastUpdate(list, now));
    must(X509_CRL_add0_revoked(list, entry));
    must(X509_CRL_sign(list, authority->key, EVP_sha256()));
    FILE *file = fopen(path, "w");
    assert(file != NULL);
    must(pem ? PEM_write_X509_CRL(file, list) : i2d_X509_CRL_fp(file, list));
    fclose(file);
    X509_CRL_free(list);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(now);
}
