/* certificates: authorities and certificates for tests, made on the spot. All in a directory of their own. */
#ifndef TESTS_NET_CERTIFICATES_H
#define TESTS_NET_CERTIFICATES_H

#include <openssl/x509.h>

enum { CERTIFICATES_DAY = 24 * 60 * 60 };

struct authority {
    X509 *certificate;
    EVP_PKEY *key;
    long serial; /* of the last certificate */
};

struct certificate_request {
    const char *name;         /* common name; NULL: none */
    const char *alternatives; /* "DNS:a,IP:127.0.0.1"; NULL: no such extension */
    long starts, ends;        /* seconds from now; both 0: an hour ago to tomorrow */
};

void authority_init(struct authority *authority, const char *name);
void authority_deinit(struct authority *authority);
/* A certificate of the authority; *key (may be NULL) gets its key. */
X509 *authority_issue(struct authority *authority, const struct certificate_request *request, EVP_PKEY **key);
/* The same into PEM files. */
void authority_issue_files(struct authority *authority, const struct certificate_request *request,
                           const char *certificate_file, const char *key_file);
void authority_write(const struct authority *authority, const char *path);
/* A list that revokes one serial number. */
void authority_revoke(const struct authority *authority, long serial, const char *path, int pem);

#endif
