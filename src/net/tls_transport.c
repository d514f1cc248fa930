/* One secure connection: a transport over another one, with OpenSSL in between.
 *
 *     inner on_read ──▶ input ──▶ SSL_read ──▶ second scratch ──▶ user's on_read
 *     user's output ──▶ records of up to 16 KiB ──▶ SSL_write ──▶ inner output ──▶ one system call
 *
 * OpenSSL reads from `input`, a view of the bytes that have just arrived (or of `held`, what a user that has
 * stopped reading left over), and writes straight into the inner transport's output chain. Small pieces of
 * output are joined to whole records, so that a turn's worth of frames is one record and not many.
 */
#include "net/tls_internal.h"

#include "base/buf.h"
#include "base/container.h"
#include "base/memory.h"
#include "net/tls_names.h"

#include <assert.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    RECORD_SIZE = SSL3_RT_MAX_PLAIN_LENGTH,
    /* Encrypted bytes that may wait: enough for one large system call. */
    BATCH_SIZE = 256 * 1024,
    RECORD_HANDSHAKE = 22,
    RECORD_ALERT = 21,
    VECTORS = 64,
};
/* A peer that takes nothing of our last words for this long is cut. */
#define FINISH_STALL_LIMIT (10 * LOOP_SECOND)

struct secure {
    struct transport transport;
    struct tls *tls;
    struct transport *inner; /* NULL: gone */
    SSL *ssl;                /* NULL: nothing has come yet */
    struct tls_handshake handshake;
    struct bytes input; /* what OpenSSL may read; valid while it is called */
    struct buf held;    /* bytes that wait: for a handshake's turn, or for the user to read on */
    struct loop_deferred work;
    struct loop_timer timer; /* the handshake's end, then the end of finishing */
    struct tls_address_check *check;
    char *common_name;
    bool opened;
    bool looked_at; /* the first byte */
    bool says_why;  /* an alert is on its way: the inner transport ends when it has left */
    bool said_goodbye;
};

static struct secure *secure_of(struct transport *transport)
{
    return (struct secure *)transport;
}

/* ---- OpenSSL's view: a BIO that reads `input` and writes into the inner transport's output ---- */

static int bio_read(BIO *bio, char *out, int size)
{
    struct secure *secure = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    size_t part = secure->input.size < (size_t)size ? secure->input.size : (size_t)size;
    if (part == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(out, secure->input.data, part);
    secure->input = bytes_of(secure->input.data + part, secure->input.size - part);
    return (int)part;
}

static int bio_write(BIO *bio, const char *data, int size)
{
    struct secure *secure = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (secure->inner == NULL) return -1;
    chain_append(transport_output(secure->inner), bytes_of(data, (size_t)size));
    return size;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method;

static void bio_method_make(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "transport");
    assert(bio_method != NULL);
    BIO_meth_set_read(bio_method, bio_read);
    BIO_meth_set_write(bio_method, bio_write);
    BIO_meth_set_ctrl(bio_method, bio_control);
}

static bool make_ssl(struct secure *secure)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, bio_method_make);
    SSL *ssl = tls_connection_new(secure->tls, &secure->handshake);
    BIO *bio = ssl == NULL ? NULL : BIO_new(bio_method);
    if (bio == NULL) {
        SSL_free(ssl);
        return false;
    }
    BIO_set_data(bio, secure);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    secure->ssl = ssl;
    return true;
}

/* ---- refusals ---- */

static void log_rejected(const struct secure *secure, const struct error *error)
{
    const struct tls *tls = secure->tls;
    const char *server_name = secure->handshake.server_name;
    X509 *certificate = secure->handshake.certificate;
    if (certificate == NULL && secure->ssl != NULL) certificate = SSL_get0_peer_certificate(secure->ssl);
    struct tls_names names = {0};
    struct log_field fields[5];
    size_t count = 0;
    fields[count++] = LOG_STRING("remote-addr", transport_peer_address(&secure->transport));
    fields[count++] = LOG_STRING("server-name", server_name == NULL ? "" : server_name);
    if (certificate != NULL) {
        tls_names_read(certificate, &names);
        fields[count++] = LOG_STRINGS("ip-addresses", (const char *const *)names.ip, names.ip_count);
        fields[count++] = LOG_STRINGS("dns-names", (const char *const *)names.dns, names.dns_count);
    }
    fields[count++] = LOG_STRING("error", error->text);
    /* Who connects and says nothing is a port scan or a health check. */
    enum log_level level = strcmp(error->text, "EOF") == 0 ? LOG_DEBUG : LOG_WARN;
    if (log_wants(tls->logger, level))
        log_emit(tls->logger, level, __FILE__, __LINE__, tls->message, fields, count);
    tls_names_deinit(&names);
}

static void break_off(struct secure *secure, struct error *error)
{
    secure->says_why = true;
    if (secure->opened && secure->tls->role == TLS_SERVER)
        log_warn(secure->tls->logger, "closing a connection that breaks TLS",
                 LOG_STRING("remote-addr", transport_peer_address(&secure->transport)),
                 LOG_STRING("error", error->text));
    transport_failed(&secure->transport, error);
}

/* OpenSSL has found a fault and told the other side by an alert. */
static void fail(struct secure *secure)
{
    break_off(secure, tls_error_take(&secure->handshake));
}

/* ---- reading ---- */

static void secure_flush(struct transport *transport);

/* The other side sends no more, but takes what is ready. */
static void said_goodbye(struct secure *secure)
{
    struct transport *transport = &secure->transport;
    secure_flush(transport);
    if (transport->state != TRANSPORT_OPEN) return;
    (void)SSL_shutdown(secure->ssl);
    ERR_clear_error();
    transport_flush(secure->inner);
    transport_failed(transport, NULL);
}

/* The end of reading that OpenSSL tells of; what it read before has been handed on. */
static void reading_over(struct secure *secure, int status)
{
    if (secure->handshake.renegotiates)
        break_off(secure, error_new(ERROR_INVALID, "local error: tls: no renegotiation"));
    else if (status == SSL_ERROR_ZERO_RETURN)
        said_goodbye(secure);
    else if (status != SSL_ERROR_WANT_READ)
        fail(secure);
}

/* As many records as fit into the scratch memory. */
static size_t read_records(struct secure *secure, uint8_t *plain, int *status)
{
    size_t used = 0;
    *status = SSL_ERROR_NONE;
    while (LOOP_SCRATCH_SIZE - used >= RECORD_SIZE) {
        size_t size = 0;
        ERR_clear_error();
        if (SSL_read_ex(secure->ssl, plain + used, LOOP_SCRATCH_SIZE - used, &size) != 1) {
            *status = SSL_get_error(secure->ssl, 0);
            break;
        }
        used += size;
    }
    return used;
}

static void read_on(struct secure *secure)
{
    struct transport *transport = &secure->transport;
    uint8_t *plain = loop_second_scratch(transport->loop);
    int status = SSL_ERROR_NONE;
    while (transport->state == TRANSPORT_OPEN && transport->reading && status == SSL_ERROR_NONE) {
        size_t size = read_records(secure, plain, &status);
        if (size > 0) transport_read_bytes(transport, bytes_of(plain, size));
    }
    if (transport->state == TRANSPORT_OPEN && status != SSL_ERROR_NONE) reading_over(secure, status);
    /* Reading can make OpenSSL write: alerts, updates of keys. */
    if (transport->state == TRANSPORT_OPEN && transport_pending(secure->inner) > 0)
        transport_flush_later(secure->inner);
}

/* What has not been used stays for later. */
static void keep_rest(struct secure *secure, bool from_held)
{
    struct bytes rest = secure->input;
    secure->input = BYTES_EMPTY;
    if (from_held)
        buf_consume(&secure->held, secure->held.size - rest.size);
    else if (rest.size > 0)
        buf_append_bytes(&secure->held, rest);
    if (secure->held.size == 0) buf_deinit(&secure->held);
}

static void read_held(struct secure *secure)
{
    secure->input = buf_bytes(&secure->held);
    read_on(secure);
    keep_rest(secure, true);
}

/* ---- writing ---- */

/* The first bytes of the output as one run: in place if they fill a record or are all there is, else joined
 * in `room`. */
static struct bytes next_record(const struct chain *output, uint8_t room[RECORD_SIZE])
{
    struct bytes front = chain_front(output);
    if (front.size >= RECORD_SIZE) return bytes_of(front.data, RECORD_SIZE);
    if (front.size == output->size) return front;
    struct iovec vectors[VECTORS];
    size_t count = chain_vectors(output, vectors, VECTORS), size = 0;
    for (size_t i = 0; i < count && size < RECORD_SIZE; i++) {
        size_t part = vectors[i].iov_len < RECORD_SIZE - size ? vectors[i].iov_len : RECORD_SIZE - size;
        memcpy(room + size, vectors[i].iov_base, part);
        size += part;
    }
    return bytes_of(room, size);
}

static void encrypt(struct secure *secure)
{
    struct chain *output = &secure->transport.output;
    uint8_t room[RECORD_SIZE];
    while (output->size > 0 && transport_pending(secure->inner) < BATCH_SIZE) {
        struct bytes record = next_record(output, room);
        size_t written = 0;
        ERR_clear_error();
        if (SSL_write_ex(secure->ssl, record.data, record.size, &written) != 1) {
            fail(secure);
            return;
        }
        chain_consume(output, written);
        secure->transport.bytes_written += written;
    }
}

/* Everything is written: say so, and let the inner transport see to it that it arrives. */
static void finish_step(struct secure *secure)
{
    struct loop *loop = secure->transport.loop;
    if (secure->transport.output.size > 0) {
        loop_timer_set(loop, &secure->timer, loop_now(loop) + FINISH_STALL_LIMIT);
    } else if (!secure->said_goodbye) {
        secure->said_goodbye = true;
        loop_timer_clear(loop, &secure->timer);
        ERR_clear_error();
        (void)SSL_shutdown(secure->ssl);
        ERR_clear_error();
        transport_finish(secure->inner);
    }
}

static void secure_flush(struct transport *transport)
{
    struct secure *secure = secure_of(transport);
    if (secure->inner == NULL || secure->said_goodbye) return;
    do {
        encrypt(secure);
        if (transport->state >= TRANSPORT_CLOSING) return;
        transport_flush(secure->inner);
        if (transport->state >= TRANSPORT_CLOSING) return;
    } while (transport->output.size > 0 && transport_pending(secure->inner) == 0);
    transport_flushed(transport);
    if (transport->state == TRANSPORT_FINISHING) finish_step(secure);
}

/* ---- handshake ---- */

static void opened(struct secure *secure)
{
    struct transport *transport = &secure->transport;
    secure->opened = true;
    loop_timer_clear(transport->loop, &secure->timer);
    if (secure->tls->role == TLS_SERVER) {
        const X509 *certificate = SSL_get0_peer_certificate(secure->ssl);
        if (certificate != NULL) secure->common_name = tls_names_common(certificate);
    }
    transport_opened(transport);
    if (transport->state != TRANSPORT_OPEN) return;
    if (secure->held.size > 0) read_held(secure);
    if (transport->state == TRANSPORT_OPEN && transport->reading) transport_read_start(secure->inner);
}

static void on_address_checked(void *context, struct error *error)
{
    struct secure *secure = context;
    secure->check = NULL;
    if (error != NULL)
        transport_failed(&secure->transport, error);
    else
        opened(secure);
}

/* Both sides have agreed; what etcd checks then. */
static struct error *check_agreed(struct secure *secure, bool *waits)
{
    const struct tls *tls = secure->tls;
    const X509 *certificate = SSL_get0_peer_certificate(secure->ssl);
    struct error *error = NULL;
    *waits = false;
    if (tls->role == TLS_CLIENT) {
        const unsigned char *protocol;
        unsigned size;
        SSL_get0_alpn_selected(secure->ssl, &protocol, &size);
        if (secure->handshake.alpn == TLS_ALPN_H2 && size == 0)
            return error_new(ERROR_INVALID, "credentials: cannot check peer: missing selected ALPN property");
        return NULL;
    }
    /* A list that cannot be read lets nobody in, also not who showed no certificate. */
    if (certificate == NULL) return tls->crl == NULL ? NULL : tls_crl_check(tls->crl, NULL);
    if (tls->check_address)
        *waits = !tls_address_check(secure->transport.loop, certificate,
                                    transport_peer_address(&secure->transport), &error, on_address_checked,
                                    secure, &secure->check);
    return error;
}

static void agreed(struct secure *secure)
{
    bool waits;
    struct error *error = check_agreed(secure, &waits);
    if (error != NULL)
        transport_failed(&secure->transport, error);
    else if (!waits)
        opened(secure);
}

static void shake(struct secure *secure)
{
    if (secure->ssl == NULL && !make_ssl(secure)) {
        transport_failed(&secure->transport, error_new(ERROR_LIMIT, "tls: out of memory"));
        return;
    }
    secure->input = buf_bytes(&secure->held);
    ERR_clear_error();
    int result = SSL_do_handshake(secure->ssl);
    int status = result == 1 ? SSL_ERROR_NONE : SSL_get_error(secure->ssl, result);
    keep_rest(secure, true);
    transport_flush(secure->inner);
    if (secure->transport.state != TRANSPORT_HANDSHAKE) return;
    if (status == SSL_ERROR_NONE)
        agreed(secure);
    else if (status == SSL_ERROR_WANT_READ)
        transport_read_start(secure->inner);
    else
        fail(secure);
}

static void on_work(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    struct secure *secure = CONTAINER(deferred, struct secure, work);
    if (secure->transport.state == TRANSPORT_HANDSHAKE && !secure->opened && secure->check == NULL)
        shake(secure);
    else if (secure->transport.state == TRANSPORT_OPEN && secure->held.size > 0)
        read_held(secure);
}

/* A plain-text client (or server) shows with its first byte. */
static bool looks_like_tls(struct secure *secure)
{
    secure->looked_at = true;
    return secure->held.data[0] == RECORD_HANDSHAKE || secure->held.data[0] == RECORD_ALERT;
}

static void read_for_handshake(struct secure *secure, struct bytes bytes)
{
    struct loop *loop = secure->transport.loop;
    buf_append_bytes(&secure->held, bytes);
    if (!secure->looked_at && !looks_like_tls(secure)) {
        transport_failed(&secure->transport,
                         error_new(ERROR_INVALID, "tls: first record does not look like a TLS handshake"));
        return;
    }
    /* Nothing more is taken until this has been looked at. */
    transport_read_stop(secure->inner);
    if (secure->check != NULL) return;
    if (secure->tls->role == TLS_SERVER)
        loop_defer_slow(loop, &secure->work);
    else
        loop_defer(loop, &secure->work);
}

/* ---- the inner transport ---- */

static void on_inner_open(void *context)
{
    struct secure *secure = context;
    if (secure->transport.state == TRANSPORT_HANDSHAKE && secure->tls->role == TLS_CLIENT) shake(secure);
}

static void on_inner_read(void *context, struct bytes bytes)
{
    struct secure *secure = context;
    struct transport *transport = &secure->transport;
    if (transport->state == TRANSPORT_HANDSHAKE) {
        read_for_handshake(secure, bytes);
    } else if (transport->state == TRANSPORT_OPEN) {
        if (secure->held.size > 0 || !transport->reading) {
            buf_append_bytes(&secure->held, bytes);
            return;
        }
        secure->input = bytes;
        read_on(secure);
        keep_rest(secure, false);
    }
}

static void on_inner_drain(void *context)
{
    struct secure *secure = context;
    if (secure->transport.state == TRANSPORT_OPEN || secure->transport.state == TRANSPORT_FINISHING)
        secure_flush(&secure->transport);
}

static void on_inner_close(void *context, const struct error *error)
{
    struct secure *secure = context;
    struct transport *transport = &secure->transport;
    struct error *reason = NULL;
    if (error != NULL)
        reason = error_new(error->kind, "%s", error->text);
    else if (!secure->opened)
        reason =
            error_new(ERROR_UNAVAILABLE, "%s", secure->inner->bytes_read == 0 ? "EOF" : "unexpected EOF");
    secure->inner = NULL;
    if (transport->state < TRANSPORT_CLOSING)
        transport_close(transport, reason);
    else
        error_free(reason);
    transport_closed(transport);
}

static const struct transport_handler inner_handler = {
    .on_open = on_inner_open,
    .on_read = on_inner_read,
    .on_drain = on_inner_drain,
    .on_close = on_inner_close,
};

/* ---- the outer one ---- */

static void on_timeout(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct secure *secure = CONTAINER(timer, struct secure, timer);
    bool late = secure->transport.state == TRANSPORT_HANDSHAKE;
    transport_close(&secure->transport,
                    late ? error_new(ERROR_TIMEOUT, "tls: the handshake was not over in time") : NULL);
}

static void secure_start(struct transport *transport)
{
    struct secure *secure = secure_of(transport);
    loop_timer_set(transport->loop, &secure->timer, clock_monotonic() + secure->tls->handshake_timeout);
    if (secure->inner->state == TRANSPORT_NEW)
        transport_start(secure->inner);
    else
        on_inner_open(secure);
}

static void secure_read_enable(struct transport *transport, bool enable)
{
    struct secure *secure = secure_of(transport);
    /* The handshake reads whether the user wants to or not. */
    if (secure->inner == NULL || transport->state != TRANSPORT_OPEN) return;
    if (!enable) {
        transport_read_stop(secure->inner);
        return;
    }
    if (secure->held.size > 0) loop_defer(transport->loop, &secure->work);
    transport_read_start(secure->inner);
}

static void secure_close(struct transport *transport)
{
    struct secure *secure = secure_of(transport);
    bool refused = !secure->opened && transport->error != NULL && transport->error->kind != ERROR_CANCELED;
    loop_timer_clear(transport->loop, &secure->timer);
    loop_defer_cancel(transport->loop, &secure->work);
    if (secure->check != NULL) tls_address_cancel(secure->check);
    secure->check = NULL;
    if (refused && secure->tls->role == TLS_SERVER) log_rejected(secure, transport->error);
    if (secure->inner == NULL) return;
    if (secure->says_why && secure->tls->role == TLS_SERVER) {
        transport_finish(secure->inner);
    } else {
        if (secure->says_why) transport_flush(secure->inner);
        transport_close(secure->inner, NULL);
    }
}

static void secure_free(struct transport *transport)
{
    struct secure *secure = secure_of(transport);
    SSL_free(secure->ssl);
    buf_deinit(&secure->held);
    free(secure->handshake.server_name);
    error_free(secure->handshake.refusal);
    X509_free(secure->handshake.certificate);
    free(secure->common_name);
    tls_free(secure->tls);
    free(secure);
}

static struct bytes secure_alpn(struct transport *transport)
{
    const unsigned char *protocol = NULL;
    unsigned size = 0;
    const struct secure *secure = secure_of(transport);
    if (secure->ssl != NULL) SSL_get0_alpn_selected(secure->ssl, &protocol, &size);
    return bytes_of(protocol, size);
}

static const char *secure_peer_common_name(struct transport *transport)
{
    return secure_of(transport)->common_name;
}

static const struct transport_operations operations = {
    .start = secure_start,
    .read_enable = secure_read_enable,
    .flush = secure_flush,
    .close = secure_close,
    .free = secure_free,
    .alpn = secure_alpn,
    .peer_common_name = secure_peer_common_name,
};

static struct transport *transport_new(struct tls *tls, enum tls_alpn alpn, struct transport *inner,
                                       const char *server_name)
{
    struct secure *secure = mem_zalloc(1, sizeof(*secure));
    transport_init(&secure->transport, &operations, inner->loop);
    secure->tls = tls;
    atomic_fetch_add(&tls->references, 1);
    secure->inner = inner;
    secure->handshake.alpn = alpn;
    secure->work.run = on_work;
    secure->timer.run = on_timeout;
    if (tls->server_name != NULL) server_name = tls->server_name;
    if (tls->role == TLS_CLIENT)
        secure->handshake.server_name = mem_strdup(server_name == NULL ? "" : server_name);
    secure->transport.local_address = mem_strdup(transport_local_address(inner));
    secure->transport.peer_address = mem_strdup(transport_peer_address(inner));
    transport_set_handler(inner, &inner_handler, secure);
    return &secure->transport;
}

struct transport *tls_transport_new(void *tls, struct transport *inner, const char *server_name)
{
    return transport_new(tls, ((struct tls *)tls)->alpn, inner, server_name);
}

struct transport *tls_transport_new_http1(void *tls, struct transport *inner, const char *server_name)
{
    return transport_new(tls, TLS_ALPN_NONE, inner, server_name);
}
