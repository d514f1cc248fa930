#include "net/tls_files.h"

#include "base/buf.h"
#include "base/memory.h"
#include "net/address.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Far more than any certificate, and less than would hurt. Lists of revoked certificates can be long. */
enum { FILE_MAX = 64 * 1024 * 1024 };

/* ---- files ---- */

struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

static struct error *open_failed(const char *path, int system)
{
    char text[128];
    struct error *error =
        error_new(ERROR_NOT_FOUND, "open %s: %s", path, address_error_text(system, text, sizeof(text)));
    error->system = system;
    return error;
}

static struct error *look_at(const char *path, struct stamp *stamp)
{
    struct stat status;
    memset(stamp, 0, sizeof(*stamp));
    if (stat(path, &status) != 0) return open_failed(path, errno);
    stamp->device = status.st_dev;
    stamp->inode = status.st_ino;
    stamp->size = status.st_size;
    stamp->modified = status.st_mtim;
    stamp->changed = status.st_ctim;
    return NULL;
}

static bool same(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static struct error *read_descriptor(int descriptor, const char *path, struct buf *out)
{
    for (;;) {
        uint8_t *room = buf_reserve(out, 4096);
        ssize_t size = read(descriptor, room, 4096);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return error_system(errno, "read %s", path);
        if (size == 0) return NULL;
        out->size += (size_t)size;
        if (out->size > FILE_MAX) return error_new(ERROR_LIMIT, "read %s: larger than 64 MiB", path);
    }
}

static struct error *read_file(const char *path, struct buf *out)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return open_failed(path, errno);
    struct error *error = read_descriptor(descriptor, path, out);
    close(descriptor);
    return error;
}

/* The key must not stay in freed memory. */
static void forget(struct buf *secret)
{
    if (secret->size > 0) OPENSSL_cleanse(secret->data, secret->size);
    buf_deinit(secret);
}

static BIO *memory(struct bytes data)
{
    BIO *bio = BIO_new_mem_buf(data.size == 0 ? "" : (const void *)data.data, (int)data.size);
    assert(bio != NULL);
    return bio;
}

/* ---- certificates ---- */

static struct error *no_certificate(struct bytes text, const char *path)
{
    static const char key[] = "PRIVATE KEY-----";
    if (memmem(text.data, text.size, key, sizeof(key) - 1) != NULL)
        return error_new(ERROR_INVALID, "tls: failed to find certificate PEM data in certificate input, but "
                                        "did find a private key; PEM inputs may have been switched");
    return error_new(ERROR_INVALID, "tls: failed to find any PEM data in certificate input (%s)", path);
}

/* Every CERTIFICATE block; other blocks are passed over, damaged ones refused. */
static struct error *read_certificates(struct bytes text, const char *path, STACK_OF(X509) * list)
{
    BIO *bio = memory(text);
    struct error *error = NULL;
    for (;;) {
        char *name = NULL, *header = NULL;
        unsigned char *data = NULL;
        long size = 0;
        if (PEM_read_bio(bio, &name, &header, &data, &size) != 1) break;
        if (strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0) {
            const unsigned char *at = data;
            X509 *certificate = d2i_X509(NULL, &at, size);
            if (certificate == NULL) {
                error = error_new(ERROR_INVALID, "x509: malformed certificate in %s", path);
            } else {
                /* Has it take its extensions apart now, and not on several threads at the first handshakes.
                 */
                (void)X509_check_purpose(certificate, -1, 0);
                sk_X509_push(list, certificate);
            }
        }
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, (size_t)size);
        if (error != NULL) break;
    }
    BIO_free(bio);
    ERR_clear_error();
    if (error == NULL && sk_X509_num(list) == 0) error = no_certificate(text, path);
    return error;
}

struct error *tls_authorities_read(const char *path, STACK_OF(X509) * *authorities)
{
    struct buf text = {0};
    struct error *error = read_file(path, &text);
    STACK_OF(X509) *list = sk_X509_new_null();
    if (error == NULL) error = read_certificates(buf_bytes(&text), path, list);
    buf_deinit(&text);
    if (error == NULL)
        *authorities = list;
    else
        sk_X509_pop_free(list, X509_free);
    return error;
}

/* ---- identities ---- */

struct tls_identity_file {
    char *certificate_file, *key_file;
    const struct logger *logger;
    pthread_mutex_t lock;
    struct stamp certificate_stamp, key_stamp;
    X509 *certificate;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
};

/* A key that is locked with a phrase cannot be used: nobody is there to type it. */
static int no_phrase(char *buffer, int size, int writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

static struct error *read_key(const char *path, EVP_PKEY **key)
{
    struct buf text = {0};
    struct error *error = read_file(path, &text);
    if (error == NULL) {
        BIO *bio = memory(buf_bytes(&text));
        *key = PEM_read_bio_PrivateKey(bio, NULL, no_phrase, NULL);
        BIO_free(bio);
        ERR_clear_error();
        if (*key == NULL)
            error =
                error_new(ERROR_INVALID, "tls: failed to find a usable private key in key input (%s)", path);
    }
    forget(&text);
    return error;
}

static struct error *read_pair(const struct tls_identity_file *identity, STACK_OF(X509) * *list,
                               EVP_PKEY **key)
{
    TRY(tls_authorities_read(identity->certificate_file, list));
    TRY(read_key(identity->key_file, key));
    if (X509_check_private_key(sk_X509_value(*list, 0), *key) == 1) return NULL;
    ERR_clear_error();
    return error_new(ERROR_INVALID, "tls: private key does not match public key");
}

static void drop_pair(struct tls_identity_file *identity)
{
    X509_free(identity->certificate);
    sk_X509_pop_free(identity->chain, X509_free);
    EVP_PKEY_free(identity->key);
}

static struct error *load(struct tls_identity_file *identity)
{
    STACK_OF(X509) *list = NULL;
    EVP_PKEY *key = NULL;
    struct error *error = read_pair(identity, &list, &key);
    if (error != NULL) {
        sk_X509_pop_free(list, X509_free);
        EVP_PKEY_free(key);
        return error;
    }
    drop_pair(identity);
    identity->certificate = sk_X509_shift(list);
    identity->chain = list;
    identity->key = key;
    return NULL;
}

/* With the lock held. */
static struct error *refresh(struct tls_identity_file *identity)
{
    struct stamp certificate, key;
    TRY(look_at(identity->certificate_file, &certificate));
    TRY(look_at(identity->key_file, &key));
    if (same(&certificate, &identity->certificate_stamp) && same(&key, &identity->key_stamp)) return NULL;
    struct error *error = load(identity);
    if (error != NULL && identity->certificate == NULL) return error;
    if (error != NULL)
        log_warn(identity->logger, "cannot use the new certificate; the one before stays in use",
                 LOG_STRING("cert-file", identity->certificate_file),
                 LOG_STRING("key-file", identity->key_file), LOG_STRING("error", error->text));
    identity->certificate_stamp = certificate;
    identity->key_stamp = key;
    error_free(error);
    return NULL;
}

struct error *tls_identity_open(const char *certificate_file, const char *key_file,
                                const struct logger *logger, struct tls_identity_file **out)
{
    struct tls_identity_file *identity = mem_zalloc(1, sizeof(*identity));
    identity->certificate_file = mem_strdup(certificate_file);
    identity->key_file = mem_strdup(key_file);
    identity->logger = logger;
    pthread_mutex_init(&identity->lock, NULL);
    struct error *error = refresh(identity);
    if (error == NULL)
        *out = identity;
    else
        tls_identity_free(identity);
    return error;
}

void tls_identity_free(struct tls_identity_file *identity)
{
    if (identity == NULL) return;
    drop_pair(identity);
    pthread_mutex_destroy(&identity->lock);
    free(identity->certificate_file);
    free(identity->key_file);
    free(identity);
}

struct error *tls_identity_use(struct tls_identity_file *identity, SSL *connection)
{
    pthread_mutex_lock(&identity->lock);
    struct error *error = refresh(identity);
    if (error == NULL &&
        SSL_use_cert_and_key(connection, identity->certificate, identity->key, identity->chain, 1) != 1)
        error = error_new(ERROR_INVALID, "tls: cannot use the certificate: %s",
                          ERR_reason_error_string(ERR_peek_last_error()));
    pthread_mutex_unlock(&identity->lock);
    return error;
}

/* ---- revoked certificates ---- */

struct tls_crl_file {
    char *path;
    pthread_mutex_t lock;
    struct stamp stamp;
    STACK_OF(X509_CRL) * lists;   /* NULL: not read yet */
    const ASN1_INTEGER **serials; /* of all lists, sorted */
    size_t serial_count;
};

struct tls_crl_file *tls_crl_open(const char *path)
{
    struct tls_crl_file *crl = mem_zalloc(1, sizeof(*crl));
    crl->path = mem_strdup(path);
    pthread_mutex_init(&crl->lock, NULL);
    return crl;
}

void tls_crl_free(struct tls_crl_file *crl)
{
    if (crl == NULL) return;
    sk_X509_CRL_pop_free(crl->lists, X509_CRL_free);
    pthread_mutex_destroy(&crl->lock);
    free(crl->serials);
    free(crl->path);
    free(crl);
}

struct error *tls_crl_parse(struct bytes data, STACK_OF(X509_CRL) * *lists)
{
    STACK_OF(X509_CRL) *found = sk_X509_CRL_new_null();
    BIO *bio = memory(data);
    X509_CRL *list;
    while ((list = PEM_read_bio_X509_CRL(bio, NULL, no_phrase, NULL)) != NULL) sk_X509_CRL_push(found, list);
    /* The end of a PEM file is "no start line"; anything else is a list that could not be read. */
    bool whole = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    BIO_free(bio);
    if (whole && sk_X509_CRL_num(found) == 0) {
        const unsigned char *at = data.data;
        list = data.size == 0 ? NULL : d2i_X509_CRL(NULL, &at, (long)data.size);
        if (list != NULL) sk_X509_CRL_push(found, list);
    }
    ERR_clear_error();
    if (whole && sk_X509_CRL_num(found) > 0) {
        *lists = found;
        return NULL;
    }
    sk_X509_CRL_pop_free(found, X509_CRL_free);
    return error_new(ERROR_INVALID, "x509: malformed crl");
}

static int compare_serials(const void *a, const void *b)
{
    return ASN1_INTEGER_cmp(*(const ASN1_INTEGER *const *)a, *(const ASN1_INTEGER *const *)b);
}

static void gather_serials(struct tls_crl_file *crl)
{
    crl->serial_count = 0;
    for (int i = 0; i < sk_X509_CRL_num(crl->lists); i++) {
        STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(sk_X509_CRL_value(crl->lists, i));
        int count = sk_X509_REVOKED_num(entries);
        if (count <= 0) continue;
        crl->serials = mem_realloc(crl->serials, (crl->serial_count + (size_t)count) * sizeof(*crl->serials));
        for (int j = 0; j < count; j++)
            crl->serials[crl->serial_count++] =
                X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries, j));
    }
    if (crl->serial_count > 0) qsort(crl->serials, crl->serial_count, sizeof(*crl->serials), compare_serials);
}

/* With the lock held. What cannot be read lets nobody in. */
static struct error *refresh_lists(struct tls_crl_file *crl)
{
    struct stamp stamp;
    TRY(look_at(crl->path, &stamp));
    if (crl->lists != NULL && same(&stamp, &crl->stamp)) return NULL;
    struct buf text = {0};
    STACK_OF(X509_CRL) *lists = NULL;
    struct error *error = read_file(crl->path, &text);
    if (error == NULL) error = tls_crl_parse(buf_bytes(&text), &lists);
    buf_deinit(&text);
    if (error != NULL) return error;
    sk_X509_CRL_pop_free(crl->lists, X509_CRL_free);
    crl->lists = lists;
    crl->stamp = stamp;
    gather_serials(crl);
    return NULL;
}

static struct error *revoked(const ASN1_INTEGER *serial)
{
    struct buf hex = {0};
    const uint8_t *digits = ASN1_STRING_get0_data(serial);
    int size = ASN1_STRING_length(serial);
    for (int i = 0; i < size; i++) buf_printf(&hex, "%02x", digits[i]);
    struct error *error =
        error_new(ERROR_INVALID, "transport: certificate serial %s revoked", buf_string(&hex));
    buf_deinit(&hex);
    return error;
}

struct error *tls_crl_check(struct tls_crl_file *crl, const STACK_OF(X509) * certificates)
{
    pthread_mutex_lock(&crl->lock);
    struct error *error = refresh_lists(crl);
    for (int i = 0; error == NULL && i < sk_X509_num(certificates); i++) {
        const ASN1_INTEGER *serial = X509_get0_serialNumber(sk_X509_value(certificates, i));
        if (crl->serial_count > 0 &&
            bsearch(&serial, crl->serials, crl->serial_count, sizeof(*crl->serials), compare_serials) != NULL)
            error = revoked(serial);
    }
    pthread_mutex_unlock(&crl->lock);
    return error;
}
