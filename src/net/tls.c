/* What connections share: settings, who is trusted, whether a certificate will do. */
#include "net/tls_internal.h"

#include "base/buf.h"
#include "base/memory.h"
#include "net/tls_ciphers.h"
#include "net/tls_names.h"

#include <assert.h>
#include <openssl/err.h>
#include <stdlib.h>

#define DEFAULT_HANDSHAKE_TIMEOUT (10 * LOOP_SECOND)

enum { VERSIONS_SHOWN = 8, PROTOCOLS_SHOWN = 16 };

static const unsigned char protocol_h2[] = {2, 'h', '2'};

bool tls_version_parse(const char *text, enum tls_version *version)
{
    static const char *const names[] = {
        [TLS_VERSION_DEFAULT] = "", [TLS_VERSION_1_2] = "TLS1.2", [TLS_VERSION_1_3] = "TLS1.3"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) != 0) continue;
        *version = (enum tls_version)i;
        return true;
    }
    return false;
}

static int version_number(enum tls_version version, int otherwise)
{
    return version == TLS_VERSION_1_2   ? TLS1_2_VERSION
           : version == TLS_VERSION_1_3 ? TLS1_3_VERSION
                                        : otherwise;
}

static struct tls_handshake *handshake_of(SSL *connection)
{
    return SSL_get_app_data(connection);
}

static void refuse(struct tls_handshake *handshake, struct error *error)
{
    if (handshake->refusal == NULL)
        handshake->refusal = error;
    else
        error_free(error);
}

/* ---- what the client says first ---- */

/* Takes the next 16-bit number. */
static bool next_number(struct bytes *rest, unsigned *number)
{
    if (rest->size < 2) return false;
    *number = (unsigned)rest->data[0] << 8 | rest->data[1];
    *rest = bytes_of(rest->data + 2, rest->size - 2);
    return true;
}

static bool fits(const struct tls *tls, unsigned version)
{
    return (int)version >= version_number(tls->minimum, TLS1_2_VERSION) &&
           (int)version <= version_number(tls->maximum, TLS1_3_VERSION);
}

/* OpenSSL would say no more than "unsupported protocol"; Go names what was offered. */
static bool offers_version(const struct tls *tls, SSL *connection, struct buf *shown)
{
    const unsigned char *data;
    size_t size, count = 0;
    unsigned number;
    if (SSL_client_hello_get0_ext(connection, TLSEXT_TYPE_supported_versions, &data, &size) == 1) {
        struct bytes rest = size < 1 ? BYTES_EMPTY : bytes_of(data + 1, size - 1);
        while (next_number(&rest, &number)) {
            if (fits(tls, number)) return true;
            if (count++ < VERSIONS_SHOWN) buf_printf(shown, "%s%x", shown->size == 0 ? "" : " ", number);
        }
        return false;
    }
    number = SSL_client_hello_get0_legacy_version(connection);
    /* It can do everything below the newest that it names. */
    if (number > TLS1_2_VERSION) number = TLS1_2_VERSION;
    for (; number >= TLS1_VERSION; number--) {
        if (fits(tls, number)) return true;
        buf_printf(shown, "%s%x", shown->size == 0 ? "" : " ", number);
    }
    return false;
}

static int on_client_hello(SSL *connection, int *alert, void *context)
{
    const struct tls *tls = context;
    struct buf shown = {0};
    bool ok = offers_version(tls, connection, &shown);
    if (!ok) {
        refuse(handshake_of(connection),
               error_new(ERROR_INVALID, "tls: client offered only unsupported versions: [%s]",
                         buf_string(&shown)));
        *alert = SSL_AD_PROTOCOL_VERSION;
    }
    buf_deinit(&shown);
    return ok ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_ERROR;
}

static int on_server_name(SSL *connection, int *alert, void *context)
{
    (void)alert;
    (void)context;
    struct tls_handshake *handshake = handshake_of(connection);
    const char *name = SSL_get_servername(connection, TLSEXT_NAMETYPE_host_name);
    if (name != NULL && handshake->server_name == NULL) handshake->server_name = mem_strdup(name);
    return SSL_TLSEXT_ERR_OK;
}

static int no_protocol(SSL *connection, const unsigned char *offered, unsigned size)
{
    struct buf shown = {0};
    unsigned count = 0;
    for (unsigned at = 0; at < size && at + 1 + offered[at] <= size && count < PROTOCOLS_SHOWN;
         at += 1u + offered[at], count++)
        buf_printf(&shown, "%s%.*s", count == 0 ? "" : " ", offered[at], (const char *)offered + at + 1);
    refuse(handshake_of(connection),
           error_new(ERROR_INVALID, "tls: client requested unsupported application protocols ([%s])",
                     buf_string(&shown)));
    buf_deinit(&shown);
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool is_offered(const unsigned char *offered, unsigned size, const char *name)
{
    size_t length = strlen(name);
    for (unsigned at = 0; at < size && at + 1 + offered[at] <= size; at += 1u + offered[at])
        if (offered[at] == length && memcmp(offered + at + 1, name, length) == 0) return true;
    return false;
}

/* h2 where it is served. http/1.1 is served everywhere, but never named: so does Go, and clients that offer
 * it alone expect as much. */
static int on_protocols(SSL *connection, const unsigned char **chosen, unsigned char *chosen_size,
                        const unsigned char *offered, unsigned size, void *context)
{
    const struct tls *tls = context;
    bool h2 = is_offered(offered, size, "h2");
    if (h2 && tls->alpn == TLS_ALPN_H2) {
        *chosen = protocol_h2 + 1;
        *chosen_size = sizeof(protocol_h2) - 1;
        return SSL_TLSEXT_ERR_OK;
    }
    if (h2 || is_offered(offered, size, "http/1.1")) return SSL_TLSEXT_ERR_NOACK;
    return no_protocol(connection, offered, size);
}

/* ---- certificates ---- */

static int on_certificate_wanted(SSL *connection, void *context)
{
    const struct tls *tls = context;
    bool serves = tls->role == TLS_SERVER;
    if (tls->identity == NULL) return 1;
    struct error *error = tls_identity_use(tls->identity, connection);
    if (error == NULL) return 1;
    const char *message =
        error_is(error, ERROR_NOT_FOUND)
            ? (serves ? "failed to find peer cert files" : "failed to find client cert files")
            : (serves ? "failed to create peer certificate" : "failed to create client certificate");
    log_warn(tls->logger, message, LOG_STRING("error", error->text));
    refuse(handshake_of(connection), error);
    return 0;
}

static bool is_allowed(const struct tls *tls, const X509 *certificate)
{
    if (tls->allowed_name_count == 0 && tls->allowed_hostname_count == 0) return true;
    bool allowed = false;
    char *name = tls->allowed_name_count == 0 ? NULL : tls_names_common(certificate);
    for (size_t i = 0; name != NULL && !allowed && i < tls->allowed_name_count; i++)
        allowed = strcmp(name, tls->allowed_names[i]) == 0;
    free(name);
    for (size_t i = 0; !allowed && i < tls->allowed_hostname_count; i++) {
        struct error *error = tls_names_check(certificate, tls->allowed_hostnames[i]);
        allowed = error == NULL;
        error_free(error);
    }
    return allowed;
}

/* After the chain of signatures has been found good. Returns the X509_V_ERR_* whose alert fits. */
static int check_certificate(const struct tls *tls, struct tls_handshake *handshake, X509 *certificate,
                             const STACK_OF(X509) * shown)
{
    struct error *error = NULL;
    int status = X509_V_ERR_CERT_REJECTED; /* alert "bad certificate" */
    if (tls->role == TLS_CLIENT && !tls->skip_verify) {
        error = tls_names_check(certificate, handshake->server_name);
        if (error != NULL) error = error_wrap(error, "tls: failed to verify certificate");
    }
    if (error == NULL && !is_allowed(tls, certificate))
        error = error_new(ERROR_INVALID, "client certificate authentication failed");
    if (error == NULL && tls->crl != NULL) {
        error = tls_crl_check(tls->crl, shown);
        status = X509_V_ERR_CERT_REVOKED;
    }
    if (error == NULL) return X509_V_OK;
    refuse(handshake, error);
    if (handshake->certificate == NULL && X509_up_ref(certificate) == 1) handshake->certificate = certificate;
    return status;
}

/* Go's server tells an unknown authority and an expired certificate apart; its client never says more than
 * "bad certificate". */
static int alert_for(const struct tls *tls, int status)
{
    if (tls->role == TLS_CLIENT) return X509_V_ERR_CERT_REJECTED;
    switch (status) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return status;
    default:
        return X509_V_ERR_CERT_REJECTED;
    }
}

static int on_verify(X509_STORE_CTX *verification, void *context)
{
    const struct tls *tls = context;
    SSL *connection = X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_handshake *handshake = handshake_of(connection);
    X509 *certificate = X509_STORE_CTX_get0_cert(verification);
    int status = X509_V_OK;
    if (!tls->skip_verify && X509_verify_cert(verification) != 1) {
        status = X509_STORE_CTX_get_error(verification);
        const X509 *at = X509_STORE_CTX_get_current_cert(verification);
        refuse(handshake, tls_error_verify(status, at == NULL ? certificate : at));
        status = alert_for(tls, status);
    } else {
        status = check_certificate(tls, handshake, certificate, X509_STORE_CTX_get0_untrusted(verification));
    }
    X509_STORE_CTX_set_error(verification, status);
    return status == X509_V_OK;
}

/* ---- set-up ---- */

/* OpenSSL answers a try to renegotiate with a warning and goes on; a peer that tries is up to no good. */
static void on_event(const SSL *connection, int where, int value)
{
    if (where == SSL_CB_WRITE_ALERT && (value & 0xff) == SSL_AD_NO_RENEGOTIATION) {
        struct tls_handshake *handshake = SSL_get_app_data(connection);
        handshake->renegotiates = true;
    }
}

static void split(const char *list, char ***items, size_t *count)
{
    while (list != NULL && *list != '\0') {
        size_t size = strcspn(list, ",");
        if (size > 0) {
            *items = mem_realloc(*items, (*count + 1) * sizeof(**items));
            (*items)[(*count)++] = mem_printf("%.*s", (int)size, list);
        }
        list += size + (list[size] == ',');
    }
}

static bool is_given(const char *text)
{
    return text != NULL && *text != '\0';
}

static struct error *trust(struct tls *tls, const char *path)
{
    STACK_OF(X509) *authorities = NULL;
    X509_STORE *store = SSL_CTX_get_cert_store(tls->context);
    /* As in Go, whatever is in the file is trusted, whether it has signed itself or not. */
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    if (!is_given(path)) {
        if (SSL_CTX_set_default_verify_paths(tls->context) != 1) ERR_clear_error();
        return NULL;
    }
    TRY(tls_authorities_read(path, &authorities));
    for (int i = 0; i < sk_X509_num(authorities); i++) {
        X509 *authority = sk_X509_value(authorities, i);
        X509_STORE_add_cert(store, authority);
        if (tls->role == TLS_SERVER) SSL_CTX_add_client_CA(tls->context, authority);
    }
    sk_X509_pop_free(authorities, X509_free);
    return NULL;
}

static struct error *set_ciphers(struct tls *tls, const char *names)
{
    struct buf list = {0}, missing = {0};
    struct error *error = is_given(names) ? tls_ciphers_translate(names, &list, &missing) : NULL;
    if (error == NULL) {
        const char *text = list.size > 0 ? buf_string(&list) : tls_ciphers_default;
        int ok = SSL_CTX_set_cipher_list(tls->context, text) &&
                 SSL_CTX_set_ciphersuites(tls->context, tls_ciphers_1_3);
        assert(ok == 1);
        (void)ok;
    }
    if (error == NULL && missing.size > 0)
        log_warn(tls->logger, "cipher suites that this OpenSSL does not have are left out",
                 LOG_STRING("cipher-suites", buf_string(&missing)));
    buf_deinit(&list);
    buf_deinit(&missing);
    return error;
}

static void set_callbacks(struct tls *tls)
{
    SSL_CTX *context = tls->context;
    SSL_CTX_set_cert_cb(context, on_certificate_wanted, tls);
    SSL_CTX_set_cert_verify_callback(context, on_verify, tls);
    if (tls->role == TLS_CLIENT) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        return;
    }
    SSL_CTX_set_verify(context,
                       tls->require_certificate ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                                : SSL_VERIFY_NONE,
                       NULL);
    SSL_CTX_set_client_hello_cb(context, on_client_hello, tls);
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_alpn_select_cb(context, on_protocols, tls);
}

static void set_protocol(struct tls *tls)
{
    SSL_CTX *context = tls->context;
    SSL_CTX_set_min_proto_version(context, version_number(tls->minimum, TLS1_2_VERSION));
    SSL_CTX_set_max_proto_version(context, version_number(tls->maximum, TLS1_3_VERSION));
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_info_callback(context, on_event);
}

static struct error *set_up(struct tls *tls, const struct tls_config *config)
{
    tls->context = SSL_CTX_new(config->role == TLS_SERVER ? TLS_server_method() : TLS_client_method());
    if (tls->context == NULL) return error_new(ERROR_OTHER, "out of memory for TLS");
    if (is_given(config->certificate_file) != is_given(config->key_file))
        return error_new(ERROR_INVALID, "KeyFile and CertFile must both be present[key: %s, cert: %s]",
                         is_given(config->key_file) ? config->key_file : "",
                         is_given(config->certificate_file) ? config->certificate_file : "");
    if (config->role == TLS_SERVER && !is_given(config->certificate_file))
        return error_new(ERROR_INVALID, "KeyFile and CertFile are not presented");
    set_protocol(tls);
    set_callbacks(tls);
    TRY(set_ciphers(tls, config->cipher_suites));
    if (is_given(config->certificate_file))
        TRY(tls_identity_open(config->certificate_file, config->key_file, tls->logger, &tls->identity));
    if (is_given(config->crl_file)) tls->crl = tls_crl_open(config->crl_file);
    return trust(tls, config->authorities_file);
}

struct error *tls_new(const struct tls_config *config, struct tls **out)
{
    struct tls *tls = mem_zalloc(1, sizeof(*tls));
    tls->role = config->role;
    tls->require_certificate = config->require_certificate;
    tls->check_address = config->check_address;
    tls->skip_verify = config->skip_verify;
    tls->alpn = config->alpn;
    tls->minimum = config->minimum;
    tls->maximum = config->maximum;
    tls->server_name = is_given(config->server_name) ? mem_strdup(config->server_name) : NULL;
    tls->message =
        mem_printf("rejected connection on %s endpoint", config->kind == NULL ? "client" : config->kind);
    tls->handshake_timeout =
        config->handshake_timeout != 0 ? config->handshake_timeout : DEFAULT_HANDSHAKE_TIMEOUT;
    tls->logger = config->logger == NULL ? &log_discard : config->logger;
    tls->security = (struct transport_security){.secure = tls_transport_new, .context = tls};
    tls->http1_security = (struct transport_security){.secure = tls_transport_new_http1, .context = tls};
    atomic_init(&tls->references, 1);
    split(config->allowed_names, &tls->allowed_names, &tls->allowed_name_count);
    split(config->allowed_hostnames, &tls->allowed_hostnames, &tls->allowed_hostname_count);
    struct error *error = set_up(tls, config);
    if (error == NULL)
        *out = tls;
    else
        tls_free(tls);
    return error;
}

static void free_list(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++) free(list[i]);
    free(list);
}

void tls_free(struct tls *tls)
{
    if (tls == NULL || atomic_fetch_sub(&tls->references, 1) > 1) return;
    SSL_CTX_free(tls->context);
    tls_identity_free(tls->identity);
    tls_crl_free(tls->crl);
    free_list(tls->allowed_names, tls->allowed_name_count);
    free_list(tls->allowed_hostnames, tls->allowed_hostname_count);
    free(tls->server_name);
    free(tls->message);
    free(tls);
}

const struct transport_security *tls_security(const struct tls *tls)
{
    return &tls->security;
}

const struct transport_security *tls_http1_security(const struct tls *tls)
{
    return &tls->http1_security;
}

SSL *tls_connection_new(const struct tls *tls, struct tls_handshake *handshake)
{
    SSL *connection = SSL_new(tls->context);
    if (connection == NULL) return NULL;
    SSL_set_app_data(connection, handshake);
    if (tls->role == TLS_SERVER) {
        SSL_set_accept_state(connection);
    } else {
        SSL_set_connect_state(connection);
        if (!tls_names_is_ip(handshake->server_name))
            SSL_set_tlsext_host_name(connection, handshake->server_name);
        if (handshake->alpn == TLS_ALPN_H2) SSL_set_alpn_protos(connection, protocol_h2, sizeof(protocol_h2));
    }
    return connection;
}
