#include "net/self_signed.h"

#include "base/buf.h"
#include "base/memory.h"
#include "net/tls_names.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SERIAL_BYTES = 16, DAYS_PER_YEAR = 365, SECONDS_PER_DAY = 24 * 60 * 60 };

/* ---- the certificate ---- */

static bool set_serial(X509 *certificate)
{
    uint8_t random[SERIAL_BYTES];
    if (RAND_bytes(random, sizeof(random)) != 1) return false;
    random[0] &= 0x7f; /* positive, and no longer than 128 bits */
    BIGNUM *number = BN_bin2bn(random, sizeof(random), NULL);
    bool ok = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return ok;
}

static bool add_extension(X509 *certificate, int kind, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    bool ok = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool add_name(GENERAL_NAMES *names, const char *host)
{
    bool is_ip = tls_names_is_ip(host);
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_OCTET_STRING *value = is_ip ? a2i_IPADDRESS(host) : ASN1_IA5STRING_new();
    if (name == NULL || value == NULL || (!is_ip && ASN1_STRING_set(value, host, -1) != 1)) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, is_ip ? GEN_IPADD : GEN_DNS, value);
    return sk_GENERAL_NAME_push(names, name) > 0;
}

static bool add_hosts(X509 *certificate, const char *const *hosts, size_t count)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    bool ok = names != NULL;
    for (size_t i = 0; ok && i < count; i++) ok = add_name(names, hosts[i]);
    ok = ok && (count == 0 || X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0) == 1);
    GENERAL_NAMES_free(names);
    return ok;
}

static bool fill(X509 *certificate, EVP_PKEY *key, const char *const *hosts, size_t host_count,
                 unsigned years)
{
    X509_NAME *name = X509_get_subject_name(certificate);
    return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), 0) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(certificate), (int)(DAYS_PER_YEAR * years), 0, NULL) != NULL &&
           X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"etcd", -1, -1, 0) ==
               1 &&
           X509_set_issuer_name(certificate, name) == 1 && X509_set_pubkey(certificate, key) == 1 &&
           add_extension(certificate, NID_key_usage,
                         "critical,digitalSignature,keyEncipherment,keyCertSign") &&
           add_extension(certificate, NID_ext_key_usage, "serverAuth") &&
           add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE") &&
           add_hosts(certificate, hosts, host_count) && X509_sign(certificate, key, EVP_sha512()) > 0;
}

/* ---- files ---- */

static struct error *make_directories(const char *path)
{
    char *copy = mem_strdup(path);
    struct error *error = NULL;
    for (char *at = copy + 1; error == NULL; at++) {
        if (*at != '/' && *at != '\0') continue;
        bool last = *at == '\0';
        *at = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST) error = error_system(errno, "mkdir %s", copy);
        if (last) break;
        *at = '/';
    }
    free(copy);
    return error;
}

static struct error *write_all(int descriptor, const char *path, struct bytes data)
{
    while (data.size > 0) {
        ssize_t size = write(descriptor, data.data, data.size);
        if (size < 0 && errno != EINTR) return error_system(errno, "write %s", path);
        if (size > 0) data = bytes_of(data.data + size, data.size - (size_t)size);
    }
    return fsync(descriptor) == 0 ? NULL : error_system(errno, "fsync %s", path);
}

/* Under its name only when it is whole: what is there is used for ever. */
static struct error *write_file(const char *path, mode_t mode, BIO *text)
{
    char *data, *unfinished = mem_printf("%s.tmp", path);
    long size = BIO_get_mem_data(text, &data);
    struct error *error = NULL;
    int descriptor = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (descriptor < 0) {
        error = error_system(errno, "open %s", unfinished);
    } else {
        error = write_all(descriptor, unfinished, bytes_of(data, (size_t)size));
        close(descriptor);
    }
    if (error == NULL && rename(unfinished, path) != 0) error = error_system(errno, "rename %s", unfinished);
    free(unfinished);
    return error;
}

static struct error *write_pair(const struct self_signed *files, X509 *certificate, EVP_PKEY *key)
{
    BIO *certificate_text = BIO_new(BIO_s_mem()), *key_text = BIO_new(BIO_s_secmem());
    struct error *error = NULL;
    if (PEM_write_bio_X509(certificate_text, certificate) != 1 ||
        PEM_write_bio_PrivateKey_traditional(key_text, key, NULL, NULL, 0, NULL, NULL) != 1)
        error = error_new(ERROR_OTHER, "cannot encode a certificate");
    if (error == NULL) error = write_file(files->key_file, 0600, key_text);
    if (error == NULL) error = write_file(files->certificate_file, 0644, certificate_text);
    BIO_free(certificate_text);
    BIO_free(key_text);
    return error;
}

static struct error *make_pair(const struct self_signed *files, const char *const *hosts, size_t host_count,
                               unsigned years)
{
    EVP_PKEY *key = EVP_EC_gen("P-521");
    X509 *certificate = X509_new();
    struct error *error = NULL;
    if (key == NULL || certificate == NULL || !fill(certificate, key, hosts, host_count, years))
        error = error_new(ERROR_OTHER, "cannot make a certificate: %s",
                          ERR_reason_error_string(ERR_peek_last_error()));
    else
        error = write_pair(files, certificate, key);
    EVP_PKEY_free(key);
    X509_free(certificate);
    ERR_clear_error();
    return error;
}

static void log_made(const struct self_signed *files, unsigned years, const struct logger *logger)
{
    char text[32];
    time_t end = time(NULL) + (time_t)years * DAYS_PER_YEAR * SECONDS_PER_DAY;
    struct tm parts;
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&end, &parts));
    log_warn(logger, "automatically generate certificates",
             LOG_STRING("certificate-validity-bound-not-after", text));
    log_info(logger, "created cert file", LOG_STRING("path", files->certificate_file));
    log_info(logger, "created key file", LOG_STRING("path", files->key_file));
}

struct error *self_signed_make(const char *directory, const char *const *hosts, size_t host_count,
                               unsigned years, const struct logger *logger, struct self_signed *made)
{
    if (years == 0)
        return error_new(ERROR_INVALID, "selfSignedCertValidity is invalid,it should be greater than 0");
    TRY(make_directories(directory));
    struct self_signed files = {.certificate_file = mem_printf("%s/cert.pem", directory),
                                .key_file = mem_printf("%s/key.pem", directory)};
    bool there = access(files.certificate_file, F_OK) == 0 && access(files.key_file, F_OK) == 0;
    struct error *error = there ? NULL : make_pair(&files, hosts, host_count, years);
    if (error == NULL) {
        if (!there) log_made(&files, years, logger);
        *made = files;
        return NULL;
    }
    free(files.certificate_file);
    free(files.key_file);
    return error;
}
