#include "server/security.h"

#include "base/memory.h"
#include "cluster/url.h"
#include "net/self_signed.h"

#include <stdlib.h>

/* One kind of connection on its way from options to TLS. */
struct side {
    const struct options *options;
    const struct logger *logger;
    const struct options_tls *tls;
    const char *kind; /* "client", "peer" */
    const char *urls; /* listened on */
    struct self_signed made;
    const char *cert_file, *key_file; /* the options', or those made */
};

bool security_is_asked(const char *url)
{
    return strncmp(url, "https:", 6) == 0 || strncmp(url, "unixs:", 6) == 0;
}

static bool is_given(const char *text)
{
    return *text != '\0';
}

/* The first address of the list that asks for TLS, as etcd words it; NULL: none. New string. */
static char *first_secure(const char *list)
{
    struct cluster_urls urls = {0};
    char *found = NULL;
    struct error *error = is_given(list) ? cluster_urls_parse(list, &urls) : NULL;
    error_free(error); /* has been checked */
    for (size_t i = 0; i < urls.count && found == NULL; i++)
        if (security_is_asked(urls.items[i])) found = mem_strdup(urls.items[i]);
    cluster_urls_deinit(&urls);
    return found;
}

static bool any_secure(const char *list)
{
    char *found = first_secure(list);
    free(found);
    return found != NULL;
}

/* ---- certificates made here ---- */

static void add_hosts(struct cluster_urls *hosts, const char *list)
{
    struct cluster_urls urls = {0};
    struct error *error = is_given(list) ? cluster_urls_parse(list, &urls) : NULL;
    error_free(error);
    for (size_t i = 0; i < urls.count; i++) {
        struct cluster_url parts;
        error = cluster_url_parse(bytes_from_string(urls.items[i]), &parts);
        struct bytes host = error == NULL ? parts.host : BYTES_EMPTY;
        error_free(error);
        if (host.size > 0) cluster_urls_append(hosts, host);
    }
    cluster_urls_deinit(&urls);
}

static struct error *make_certificate(struct side *side)
{
    const struct options *options = side->options;
    struct cluster_urls hosts = {0};
    char *directory = mem_printf("%s/fixtures/%s", options->data_dir, side->kind);
    add_hosts(&hosts, side->urls);
    struct error *error =
        self_signed_make(directory, (const char *const *)hosts.items, hosts.count,
                         (unsigned)options->self_signed_cert_validity, side->logger, &side->made);
    if (error != NULL) error = error_wrap(error, "failed to get %s self-signed certs", side->kind);
    cluster_urls_deinit(&hosts);
    free(directory);
    return error;
}

static bool is_empty(const struct side *side)
{
    return !is_given(side->cert_file) && !is_given(side->key_file);
}

static struct error *find_certificate(struct side *side)
{
    side->cert_file = side->tls->cert_file;
    side->key_file = side->tls->key_file;
    if (!side->tls->auto_tls) return NULL;
    if (!is_empty(side)) {
        log_warn(side->logger, *side->kind == 'c' ? "ignoring client auto TLS since certs given"
                                                  : "ignoring peer auto TLS since certs given");
        return NULL;
    }
    TRY(make_certificate(side));
    side->cert_file = side->made.certificate_file;
    side->key_file = side->made.key_file;
    return NULL;
}

static void side_deinit(struct side *side)
{
    free(side->made.certificate_file);
    free(side->made.key_file);
}

static bool is_made(const struct side *side)
{
    return side->made.certificate_file != NULL;
}

static void log_side(const struct side *side)
{
    const struct options_tls *tls = side->tls;
    struct buf text = {0};
    if (is_empty(side)) return;
    buf_printf(&text,
               "cert = %s, key = %s, client-cert=%s, client-key=%s, trusted-ca = %s, client-cert-auth = %s, "
               "crl-file = %s",
               side->cert_file, side->key_file, is_made(side) ? side->cert_file : tls->client_cert_file,
               is_made(side) ? side->key_file : tls->client_key_file, tls->trusted_ca_file,
               tls->client_cert_auth ? "true" : "false", tls->crl_file);
    struct cluster_urls suites = {0};
    const char *list = side->options->cipher_suites;
    while (is_given(list)) {
        size_t size = strcspn(list, ",");
        cluster_urls_append(&suites, bytes_of(list, size));
        list += size + (list[size] == ',');
    }
    log_info(side->logger, *side->kind == 'c' ? "starting with client TLS" : "starting with peer TLS",
             LOG_STRING("tls-info", buf_string(&text)),
             LOG_STRINGS("cipher-suites", (const char *const *)suites.items, suites.count));
    cluster_urls_deinit(&suites);
    buf_deinit(&text);
}

/* What was meant for TLS and finds an address without. */
static void warn_of_plain(const struct side *side)
{
    bool for_clients = *side->kind == 'c';
    struct cluster_urls urls = {0};
    struct error *error = is_given(side->urls) ? cluster_urls_parse(side->urls, &urls) : NULL;
    error_free(error);
    const char *key = for_clients ? "client-url" : "peer-url";
    for (size_t i = 0; i < urls.count; i++) {
        const char *url = urls.items[i];
        if (security_is_asked(url)) continue;
        if (!is_empty(side))
            log_warn(
                side->logger,
                for_clients
                    ? "scheme is http or unix while key and cert files are present; ignoring key and cert "
                      "files"
                    : "scheme is HTTP while key and cert files are present; ignoring key and cert files",
                LOG_STRING(key, url));
        if (side->tls->client_cert_auth)
            log_warn(
                side->logger,
                for_clients
                    ? "scheme is http or unix while --client-cert-auth is enabled; ignoring client cert auth "
                      "for this URL"
                    : "scheme is HTTP while --peer-client-cert-auth is enabled; ignoring client cert auth "
                      "for "
                      "this URL",
                LOG_STRING(key, url));
    }
    cluster_urls_deinit(&urls);
}

/* ---- TLS ---- */

static void quote(struct buf *out, const char *list)
{
    while (is_given(list)) {
        size_t size = strcspn(list, ",");
        buf_printf(out, "%s\"%.*s\"", out->size == 0 ? "" : " ", (int)size, list);
        list += size + (list[size] == ',');
    }
}

static struct error *check_side(const struct side *side)
{
    const struct options_tls *tls = side->tls;
    if (is_given(tls->client_cert_file) != is_given(tls->client_key_file))
        return error_new(
            ERROR_INVALID,
            "ClientKeyFile and ClientCertFile must both be present or both absent: key: %s, cert: "
            "%s]",
            tls->client_key_file, tls->client_cert_file);
    if (!is_given(tls->allowed_cn) || !is_given(tls->allowed_hostname)) return NULL;
    struct buf names = {0}, hostnames = {0};
    quote(&names, tls->allowed_cn);
    quote(&hostnames, tls->allowed_hostname);
    struct error *error = error_new(ERROR_INVALID,
                                    "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[%s], "
                                    "hostnames=[%s])",
                                    buf_string(&names), buf_string(&hostnames));
    buf_deinit(&names);
    buf_deinit(&hostnames);
    return error;
}

static struct tls_config config_of(const struct side *side, enum tls_role role)
{
    const struct options *options = side->options;
    const struct options_tls *tls = side->tls;
    struct tls_config config = {
        .role = role,
        .certificate_file = side->cert_file,
        .key_file = side->key_file,
        .authorities_file = tls->trusted_ca_file,
        .allowed_names = tls->allowed_cn,
        .allowed_hostnames = tls->allowed_hostname,
        .cipher_suites = options->cipher_suites,
        .kind = side->kind,
        .logger = side->logger,
    };
    /* They have been checked. */
    (void)tls_version_parse(options->tls_min_version, &config.minimum);
    (void)tls_version_parse(options->tls_max_version, &config.maximum);
    return config;
}

static struct error *make_server(const struct side *side, enum tls_alpn alpn, bool check_address,
                                 struct tls **tls)
{
    struct tls_config config = config_of(side, TLS_SERVER);
    config.crl_file = side->tls->crl_file;
    config.require_certificate = side->tls->client_cert_auth || is_given(side->tls->trusted_ca_file);
    config.check_address = check_address && !side->tls->skip_san_verification;
    config.alpn = alpn;
    return tls_new(&config, tls);
}

static struct error *client_side(struct security *security, struct side *side)
{
    const struct options *options = side->options;
    struct error *error = find_certificate(side);
    if (error == NULL) {
        log_side(side);
        warn_of_plain(side);
    }
    char *secure = first_secure(side->urls);
    if (error == NULL && secure != NULL && is_empty(side))
        error = error_new(ERROR_INVALID,
                          "TLS key/cert (--cert-file, --key-file) must be provided for client url %s with "
                          "HTTPS scheme",
                          secure);
    if (error == NULL && secure != NULL) error = check_side(side);
    if (error == NULL && secure != NULL) error = make_server(side, TLS_ALPN_H2, false, &security->client);
    if (error == NULL && any_secure(options->listen_client_http_urls))
        error = make_server(side, TLS_ALPN_NONE, false, &security->client_http);
    if (error == NULL && any_secure(options->listen_metrics_urls))
        error = is_empty(side)
                    ? error_new(ERROR_INVALID, "client TLS key/cert (--cert-file, --key-file) must "
                                               "be provided for metrics secure url")
                    : make_server(side, TLS_ALPN_NONE, true, &security->metrics);
    free(secure);
    return error;
}

static struct error *peer_dial(struct security *security, const struct side *side)
{
    struct tls_config config = config_of(side, TLS_CLIENT);
    if (is_given(side->tls->client_cert_file)) {
        config.certificate_file = side->tls->client_cert_file;
        config.key_file = side->tls->client_key_file;
    }
    config.skip_verify = is_made(side);
    /* Whom the system's authorities vouch for must at least be of the domain that named the members. */
    if (!is_given(side->tls->trusted_ca_file)) config.server_name = side->options->discovery_srv;
    return tls_new(&config, &security->dial);
}

static struct error *peer_side(struct security *security, struct side *side)
{
    TRY(find_certificate(side));
    log_side(side);
    warn_of_plain(side);
    char *secure = first_secure(side->urls);
    struct error *error = NULL;
    if (secure != NULL && is_empty(side))
        error =
            error_new(ERROR_INVALID, "cannot listen on TLS for %s: KeyFile and CertFile are not presented",
                      strstr(secure, "://") + 3);
    if (error == NULL && (secure != NULL || !is_empty(side))) error = check_side(side);
    if (error == NULL && secure != NULL) error = make_server(side, TLS_ALPN_NONE, true, &security->peer);
    if (error == NULL) error = peer_dial(security, side);
    free(secure);
    return error;
}

struct error *security_init(struct security *security, const struct options *options,
                            const struct logger *logger)
{
    struct side peer = {.options = options,
                        .logger = logger,
                        .tls = &options->peer_tls,
                        .kind = "peer",
                        .urls = options->listen_peer_urls};
    struct error *error = peer_side(security, &peer);
    side_deinit(&peer);
    if (error != NULL) return error;
    struct buf urls = {0};
    buf_append_string(&urls, options->listen_client_urls);
    if (is_given(options->listen_client_http_urls))
        buf_printf(&urls, ",%s", options->listen_client_http_urls);
    struct side client = {.options = options,
                          .logger = logger,
                          .tls = &options->client_tls,
                          .kind = "client",
                          .urls = buf_string(&urls)};
    error = client_side(security, &client);
    side_deinit(&client);
    buf_deinit(&urls);
    return error;
}

void security_deinit(struct security *security)
{
    tls_free(security->client);
    tls_free(security->client_http);
    tls_free(security->metrics);
    tls_free(security->peer);
    tls_free(security->dial);
}
