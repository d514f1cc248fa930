/* TLS over transports in memory: both ends are ours, and the test carries the bytes between them. */
#include "base/memory.h"
#include "base/rng.h"
#include "net/port.h"
#include "net/self_signed.h"
#include "net/tls.h"
#include "net/tls_ciphers.h"
#include "net/tls_files.h"
#include "net/tls_names.h"
#include "net/transport_memory.h"
#include "tests/net/certificates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/test_net_tls.XXXXXX";
static struct authority authority, other_authority;
static char logged[4096];

/* A file of the test's directory; a few at a time. */
static const char *file(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    return path;
}

static void emit(void *context, const struct log_record *record)
{
    (void)context;
    size_t used = strlen(logged);
    used += (size_t)snprintf(logged + used, sizeof(logged) - used, "%s", record->message);
    for (size_t i = 0; i < record->field_count && used < sizeof(logged); i++)
        if (record->fields[i].kind == LOG_FIELD_STRING)
            used += (size_t)snprintf(logged + used, sizeof(logged) - used, " %s=%s", record->fields[i].key,
                                     record->fields[i].string);
    if (used < sizeof(logged)) snprintf(logged + used, sizeof(logged) - used, "\n");
}

static const struct logger logger = {.level = LOG_DEBUG, .emit = emit};

static void issue(struct authority *by, const char *name, const char *common, const char *alternatives)
{
    char certificate[64], key[64];
    snprintf(certificate, sizeof(certificate), "%s.pem", name);
    snprintf(key, sizeof(key), "%s.key", name);
    authority_issue_files(by, &(struct certificate_request){.name = common, .alternatives = alternatives},
                          file(certificate), file(key));
}

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(directory));
    authority_init(&authority, "authority");
    authority_init(&other_authority, "other");
    authority_write(&authority, file("ca.pem"));
    authority_write(&other_authority, file("other.pem"));
    issue(&authority, "server", "server", "DNS:server.test,DNS:*.wild.test,IP:127.0.0.1");
    issue(&authority, "alice", "alice", "DNS:alice.test");
    issue(&authority, "noname", NULL, NULL);
    issue(&other_authority, "mallory", "alice", "DNS:alice.test");
    authority_issue_files(&authority,
                          &(struct certificate_request){.name = "old", .starts = -7200, .ends = -3600},
                          file("old.pem"), file("old.key"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", directory);
    authority_deinit(&authority);
    authority_deinit(&other_authority);
    return system(command);
}

/* ---- two ends ---- */

struct end {
    struct transport *outer, *inner;
    struct buf wire; /* written, not yet carried */
    struct buf received;
    size_t reads;
    bool opened, closed;
    char error[256];
};

struct pair {
    struct loop *loop;
    struct tls *server_tls, *client_tls;
    struct end server, client;
};

static void on_open(void *context)
{
    ((struct end *)context)->opened = true;
}

static void on_read(void *context, struct bytes bytes)
{
    struct end *end = context;
    buf_append_bytes(&end->received, bytes);
    end->reads++;
}

static void on_close(void *context, const struct error *error)
{
    struct end *end = context;
    end->closed = true;
    snprintf(end->error, sizeof(end->error), "%s", error == NULL ? "" : error->text);
}

static const struct transport_handler handler = {.on_open = on_open,
                                                 .on_read = on_read,
                                                 .on_close = on_close};

static void on_free(void *context)
{
    ((struct end *)context)->inner = NULL;
}

static void end_start(struct pair *pair, struct end *end, const struct tls *tls, const char *server_name)
{
    const struct transport_security *security = tls_security(tls);
    end->inner = transport_memory_new(pair->loop);
    end->inner->on_free = on_free;
    end->inner->on_free_context = end;
    transport_memory_sink(end->inner, &end->wire);
    end->outer = security->secure(security->context, end->inner, server_name);
    transport_set_handler(end->outer, &handler, end);
    transport_start(end->outer);
}

static bool carry(struct end *from, struct end *to)
{
    if (from->wire.size == 0) return false;
    struct buf bytes = from->wire;
    from->wire = (struct buf){0};
    size_t at = 0;
    while (at < bytes.size && to->inner != NULL && to->inner->state == TRANSPORT_OPEN && to->inner->reading) {
        size_t part = bytes.size - at < 5000 ? bytes.size - at : 5000;
        transport_memory_feed(to->inner, bytes_of(bytes.data + at, part));
        at += part;
    }
    /* What the other side does not take now stays on the wire, before what came meanwhile. */
    struct buf rest = {0};
    if (to->inner != NULL && to->inner->state == TRANSPORT_OPEN) {
        buf_append(&rest, bytes.data + at, bytes.size - at);
        buf_append_bytes(&rest, buf_bytes(&from->wire));
        buf_deinit(&from->wire);
        from->wire = rest;
    }
    buf_deinit(&bytes);
    return at > 0;
}

static void turn(struct pair *pair)
{
    bool moved = true;
    for (int i = 0; i < 2000 && moved; i++) {
        loop_run_once(pair->loop, 0);
        loop_run_once(pair->loop, 0);
        moved = carry(&pair->client, &pair->server);
        moved = carry(&pair->server, &pair->client) || moved;
    }
    for (int i = 0; i < 4; i++) loop_run_once(pair->loop, 0);
}

static struct tls_config server_config(void)
{
    static char certificate[128], key[128];
    snprintf(certificate, sizeof(certificate), "%s", file("server.pem"));
    snprintf(key, sizeof(key), "%s", file("server.key"));
    return (struct tls_config){.role = TLS_SERVER,
                               .certificate_file = certificate,
                               .key_file = key,
                               .alpn = TLS_ALPN_H2,
                               .kind = "client",
                               .logger = &logger};
}

static struct tls_config client_config(void)
{
    static char authorities[128];
    snprintf(authorities, sizeof(authorities), "%s", file("ca.pem"));
    return (struct tls_config){.role = TLS_CLIENT, .authorities_file = authorities, .alpn = TLS_ALPN_H2};
}

static struct tls *tls_of(const struct tls_config *config)
{
    struct tls *tls;
    struct error *error = tls_new(config, &tls);
    if (error != NULL) fail_msg("%s", error->text);
    return tls;
}

static void pair_start(struct pair *pair, const struct tls_config *server, const struct tls_config *client,
                       const char *name)
{
    memset(pair, 0, sizeof(*pair));
    logged[0] = 0;
    pair->loop = loop_new();
    pair->server_tls = tls_of(server);
    pair->client_tls = tls_of(client);
    end_start(pair, &pair->server, pair->server_tls, NULL);
    end_start(pair, &pair->client, pair->client_tls, name);
    turn(pair);
}

static void end_stop(struct end *end)
{
    if (!end->closed) transport_close(end->outer, NULL);
}

static void pair_stop(struct pair *pair)
{
    end_stop(&pair->server);
    end_stop(&pair->client);
    for (int i = 0; i < 8; i++) loop_run_once(pair->loop, 0);
    assert_true(pair->server.closed);
    assert_true(pair->client.closed);
    assert_null(pair->server.inner);
    assert_null(pair->client.inner);
    loop_free(pair->loop);
    tls_free(pair->server_tls);
    tls_free(pair->client_tls);
    buf_deinit(&pair->server.wire);
    buf_deinit(&pair->client.wire);
    buf_deinit(&pair->server.received);
    buf_deinit(&pair->client.received);
}

static void send_text(struct end *end, const char *text)
{
    chain_append(transport_output(end->outer), bytes_from_string(text));
    transport_flush(end->outer);
}

/* ---- what works ---- */

static void test_both_ways(void **state)
{
    (void)state;
    struct pair pair;
    struct tls_config server = server_config(), client = client_config();
    pair_start(&pair, &server, &client, "server.test");
    assert_true(pair.server.opened);
    assert_true(pair.client.opened);
    assert_true(transport_is_secure(pair.server.outer));
    assert_true(bytes_equal(transport_alpn(pair.server.outer), BYTES_LITERAL("h2")));
    assert_true(bytes_equal(transport_alpn(pair.client.outer), BYTES_LITERAL("h2")));
    assert_null(transport_peer_common_name(pair.server.outer));
    send_text(&pair.client, "ping");
    turn(&pair);
    assert_string_equal(buf_string(&pair.server.received), "ping");
    send_text(&pair.server, "pong");
    turn(&pair);
    assert_string_equal(buf_string(&pair.client.received), "pong");
    /* An end with a goodbye is orderly, on both sides. */
    send_text(&pair.client, "!");
    transport_finish(pair.client.outer);
    turn(&pair);
    assert_string_equal(buf_string(&pair.server.received), "ping!");
    assert_true(pair.server.closed);
    assert_string_equal(pair.server.error, "");
    pair_stop(&pair);
    assert_string_equal(logged, "");
}

static void test_versions(void **state)
{
    (void)state;
    for (enum tls_version version = TLS_VERSION_1_2; version <= TLS_VERSION_1_3; version++) {
        struct pair pair;
        struct tls_config server = server_config(), client = client_config();
        client.minimum = client.maximum = version;
        server.authorities_file = client.authorities_file;
        server.require_certificate = true;
        client.certificate_file = file("alice.pem");
        client.key_file = file("alice.key");
        pair_start(&pair, &server, &client, "127.0.0.1");
        assert_true(pair.server.opened);
        assert_string_equal(transport_peer_common_name(pair.server.outer), "alice");
        pair_stop(&pair);
    }
}

/* Much output becomes whole records, and what the other side does not take stays. */
static void test_large(void **state)
{
    (void)state;
    struct pair pair;
    struct tls_config server = server_config(), client = client_config();
    pair_start(&pair, &server, &client, "server.test");
    const size_t size = 3 << 20;
    struct buf sent = {0};
    for (size_t i = 0; i < size / 32; i++) {
        uint8_t piece[32];
        memset(piece, (int)i, sizeof(piece));
        buf_append(&sent, piece, sizeof(piece));
        chain_append(transport_output(pair.client.outer), bytes_of(piece, sizeof(piece)));
    }
    transport_memory_limit(pair.client.inner, 0);
    transport_flush(pair.client.outer);
    assert_int_equal(pair.client.wire.size, 0);
    assert_true(transport_pending(pair.client.outer) > size - (512 << 10));
    transport_memory_limit(pair.client.inner, SIZE_MAX);
    for (int i = 0; i < 100 && pair.server.received.size < size; i++) turn(&pair);
    assert_int_equal(pair.server.received.size, size);
    assert_memory_equal(pair.server.received.data, sent.data, size);
    assert_int_equal(transport_pending(pair.client.outer), 0);
    /* 16 KiB records: 22 bytes of each are TLS's. */
    size_t records = (pair.server.inner->bytes_read - size) / 22;
    assert_true(records < size / (16 << 10) + 100);
    buf_deinit(&sent);
    pair_stop(&pair);
}

static void test_reading_stops(void **state)
{
    (void)state;
    struct pair pair;
    struct tls_config server = server_config(), client = client_config();
    pair_start(&pair, &server, &client, "server.test");
    transport_read_stop(pair.server.outer);
    send_text(&pair.client, "one");
    turn(&pair);
    assert_int_equal(pair.server.received.size, 0);
    transport_read_start(pair.server.outer);
    turn(&pair);
    assert_string_equal(buf_string(&pair.server.received), "one");
    pair_stop(&pair);
}

/* What one side has sent, in its order. */
struct sent {
    struct buf bytes;
    uint8_t next;
};

static void send_some(struct end *end, struct sent *sent, size_t size)
{
    if (!transport_is_open(end->outer) || transport_pending(end->outer) > (1 << 20)) return;
    uint8_t *piece = mem_alloc(size);
    for (size_t i = 0; i < size; i++) piece[i] = sent->next++;
    buf_append(&sent->bytes, piece, size);
    chain_append(transport_output(end->outer), bytes_of(piece, size));
    free(piece);
    transport_flush_later(end->outer);
}

static void disturb(struct end *end, struct sent *sent, struct rng *rng)
{
    static const size_t sizes[] = {1, 9, 100, 5000, 16384, 16385, 40000, 300000};
    switch (rng_below(rng, 6)) {
    case 0:
        transport_read_stop(end->outer);
        break;
    case 1:
        transport_read_start(end->outer);
        break;
    case 2:
        transport_memory_limit(end->inner, rng_below(rng, 40000));
        break;
    case 3:
        transport_memory_limit(end->inner, SIZE_MAX);
        break;
    default:
        send_some(end, sent, sizes[rng_below(rng, sizeof(sizes) / sizeof(sizes[0]))]);
        break;
    }
}

/* Whatever is written in whatever pieces, with readers that pause and wires that clog, arrives in order. */
static void test_random_traffic(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        struct tls_config server = server_config(), client = client_config();
        client.maximum = seed % 2 == 0 ? TLS_VERSION_1_2 : TLS_VERSION_1_3;
        struct pair pair;
        struct sent from_client = {0}, from_server = {0};
        pair_start(&pair, &server, &client, "server.test");
        for (int step = 0; step < 150; step++) {
            disturb(&pair.client, &from_client, &rng);
            disturb(&pair.server, &from_server, &rng);
            loop_run_once(pair.loop, 0);
            if (rng_below(&rng, 2) == 0) carry(&pair.client, &pair.server);
            if (rng_below(&rng, 2) == 0) carry(&pair.server, &pair.client);
        }
        struct end *const ends[] = {&pair.client, &pair.server};
        for (size_t i = 0; i < 2; i++) {
            transport_read_start(ends[i]->outer);
            transport_memory_limit(ends[i]->inner, SIZE_MAX);
        }
        for (int i = 0; i < 50; i++) turn(&pair);
        assert_int_equal(pair.server.received.size, from_client.bytes.size);
        assert_memory_equal(pair.server.received.data, from_client.bytes.data, from_client.bytes.size);
        assert_int_equal(pair.client.received.size, from_server.bytes.size);
        assert_memory_equal(pair.client.received.data, from_server.bytes.data, from_server.bytes.size);
        buf_deinit(&from_client.bytes);
        buf_deinit(&from_server.bytes);
        pair_stop(&pair);
    }
}

/* ---- what is refused ---- */

static void refused(const struct tls_config *server, const struct tls_config *client, const char *name,
                    const char *server_says, const char *client_says)
{
    struct pair pair;
    pair_start(&pair, server, client, name);
    if (server_says != NULL) {
        assert_false(pair.server.opened);
        assert_true(pair.server.closed);
        if (strstr(pair.server.error, server_says) == NULL)
            fail_msg("\"%s\" is not \"%s\"", pair.server.error, server_says);
        if (strstr(logged, "rejected connection on client endpoint") == NULL ||
            strstr(logged, server_says) == NULL)
            fail_msg("logged: %s", logged);
    }
    if (strstr(pair.client.error, client_says) == NULL)
        fail_msg("\"%s\" is not \"%s\"", pair.client.error, client_says);
    pair_stop(&pair);
}

static void test_refused_servers(void **state)
{
    (void)state;
    struct tls_config server = server_config(), client = client_config();
    refused(&server, &client, "10.0.0.1", "remote error: tls: bad certificate",
            "tls: failed to verify certificate: x509: certificate is valid for 127.0.0.1, not 10.0.0.1");
    refused(&server, &client, "else.test", "remote error: tls: bad certificate",
            "x509: certificate is valid for server.test, *.wild.test, not else.test");
    refused(&server, &client, "a.b.wild.test", "remote error: tls: bad certificate", "not a.b.wild.test");
    client.authorities_file = file("other.pem");
    refused(&server, &client, "server.test", "remote error: tls: bad certificate",
            "x509: certificate signed by unknown authority");
    client = client_config();
    client.allowed_names = "someone,else";
    refused(&server, &client, "server.test", "remote error: tls: bad certificate",
            "client certificate authentication failed");
    server.certificate_file = file("old.pem");
    server.key_file = file("old.key");
    client = client_config();
    refused(&server, &client, "server.test", "remote error: tls: bad certificate",
            "x509: certificate has expired or is not yet valid: current time ");
    server = server_config();
    server.alpn = TLS_ALPN_NONE;
    refused(&server, &client, "server.test", NULL, "missing selected ALPN property");
}

static void test_one_name_for_all(void **state)
{
    (void)state;
    struct tls_config server = server_config(), client = client_config();
    struct pair pair;
    client.server_name = "server.test";
    pair_start(&pair, &server, &client, "10.0.0.1");
    assert_true(pair.client.opened);
    pair_stop(&pair);
    client.server_name = "domain.test";
    refused(&server, &client, "server.test", "remote error: tls: bad certificate", "not domain.test");
}

static void show(struct tls_config *client, const char *name)
{
    static char certificate[128], key[128];
    snprintf(certificate, sizeof(certificate), "%s/%s.pem", directory, name);
    snprintf(key, sizeof(key), "%s/%s.key", directory, name);
    client->certificate_file = certificate;
    client->key_file = key;
}

static void test_refused_clients(void **state)
{
    (void)state;
    struct tls_config server = server_config(), client = client_config();
    server.authorities_file = client.authorities_file;
    server.require_certificate = true;
    refused(&server, &client, "server.test", "tls: client didn't provide a certificate",
            "remote error: tls: certificate required");
    show(&client, "mallory");
    refused(&server, &client, "server.test", "x509: certificate signed by unknown authority",
            "remote error: tls: unknown certificate authority");
    show(&client, "old");
    refused(&server, &client, "server.test", "x509: certificate has expired or is not yet valid",
            "remote error: tls: expired certificate");
    show(&client, "alice");
    server.allowed_names = "bob,carol";
    refused(&server, &client, "server.test", "client certificate authentication failed",
            "remote error: tls: bad certificate");
    server.allowed_names = NULL;
    server.allowed_hostnames = "bob.test";
    refused(&server, &client, "server.test", "client certificate authentication failed",
            "remote error: tls: bad certificate");
    server.allowed_hostnames = NULL;
    server.crl_file = file("crl");
    refused(&server, &client, "server.test", "crl: no such file or directory", "remote error: tls: ");
    for (int pem = 0; pem < 2; pem++) {
        authority_revoke(&authority, 102, file("crl"), pem); /* alice's: the second that was made */
        refused(&server, &client, "server.test", "transport: certificate serial 66 revoked",
                "remote error: tls: revoked certificate");
    }
    authority_revoke(&authority, 4711, file("crl"), 1);
    struct pair pair;
    pair_start(&pair, &server, &client, "server.test");
    assert_true(pair.server.opened);
    pair_stop(&pair);
}

static void test_common_name_allowed(void **state)
{
    (void)state;
    struct tls_config server = server_config(), client = client_config();
    server.authorities_file = client.authorities_file;
    server.require_certificate = true;
    server.allowed_names = "bob,alice";
    show(&client, "alice");
    struct pair pair;
    pair_start(&pair, &server, &client, "server.test");
    assert_true(pair.server.opened);
    pair_stop(&pair);
    server.allowed_names = NULL;
    show(&client, "noname");
    pair_start(&pair, &server, &client, "server.test");
    assert_true(pair.server.opened);
    assert_null(transport_peer_common_name(pair.server.outer));
    pair_stop(&pair);
}

static void test_refused_protocols(void **state)
{
    (void)state;
    struct tls_config server = server_config(), client = client_config();
    server.minimum = TLS_VERSION_1_3;
    client.maximum = TLS_VERSION_1_2;
    refused(&server, &client, "server.test", "tls: client offered only unsupported versions: [303 302 301]",
            "remote error: tls: protocol version not supported");
    server = server_config();
    server.cipher_suites = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    client.cipher_suites = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    refused(&server, &client, "server.test", "tls: no cipher suite supported by both client and server",
            "remote error: tls: handshake failure");
}

/* One end is TLS, the other is not. */
static void plain(enum tls_role role, struct bytes bytes, const char *says)
{
    struct pair pair;
    memset(&pair, 0, sizeof(pair));
    struct tls_config config = role == TLS_SERVER ? server_config() : client_config();
    struct tls *tls = tls_of(&config);
    logged[0] = 0;
    pair.loop = loop_new();
    end_start(&pair, &pair.server, tls, role == TLS_CLIENT ? "server.test" : NULL);
    if (bytes.size > 0)
        transport_memory_feed(pair.server.inner, bytes);
    else
        transport_memory_end(pair.server.inner);
    for (int i = 0; i < 8; i++) loop_run_once(pair.loop, 0);
    if (bytes.size > 0 && bytes.data[0] == 22) {
        transport_memory_end(pair.server.inner);
        for (int i = 0; i < 8; i++) loop_run_once(pair.loop, 0);
    }
    assert_true(pair.server.closed);
    assert_false(pair.server.opened);
    assert_string_equal(pair.server.error, says);
    if (role == TLS_SERVER) assert_non_null(strstr(logged, says));
    loop_free(pair.loop);
    buf_deinit(&pair.server.wire);
    tls_free(tls);
}

static void test_plain_text(void **state)
{
    (void)state;
    const char *says = "tls: first record does not look like a TLS handshake";
    plain(TLS_SERVER, BYTES_LITERAL("GET / HTTP/1.1\r\n\r\n"), says);
    plain(TLS_SERVER, BYTES_LITERAL("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), says);
    plain(TLS_CLIENT, BYTES_LITERAL("HTTP/1.1 400 Bad Request\r\n"), says);
    plain(TLS_CLIENT, bytes_of("\0\0\0\4", 4), says);
    plain(TLS_SERVER, BYTES_EMPTY, "EOF");
    plain(TLS_SERVER, bytes_of("\x16\x03\x01\x00\x05", 5), "unexpected EOF");
}

static void test_handshake_timeout(void **state)
{
    (void)state;
    struct pair pair;
    memset(&pair, 0, sizeof(pair));
    struct tls_config config = server_config();
    config.handshake_timeout = 20 * LOOP_MILLISECOND;
    struct tls *tls = tls_of(&config);
    logged[0] = 0;
    pair.loop = loop_new();
    end_start(&pair, &pair.server, tls, NULL);
    int64_t limit = clock_monotonic() + 10 * LOOP_SECOND;
    while (!pair.server.closed && clock_monotonic() < limit) loop_run_once(pair.loop, LOOP_SECOND);
    assert_true(pair.server.closed);
    assert_non_null(strstr(logged, "the handshake was not over in time"));
    loop_free(pair.loop);
    buf_deinit(&pair.server.wire);
    tls_free(tls);
}

/* ---- many at once ---- */

static void on_counted_free(void *context)
{
    (*(size_t *)context)--;
}

/* Beyond the limit the connection that has been in its handshake for longest gives way. */
static void test_too_many_handshakes(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct tls_config config = server_config();
    struct tls *tls = tls_of(&config);
    struct port port = {.security = tls_security(tls)};
    size_t open_count = 0;
    logged[0] = 0;
    for (size_t i = 0; i < PORT_HANDSHAKES_MAX + 3; i++) {
        struct transport *transport = transport_memory_new(loop);
        transport->on_free = on_counted_free;
        transport->on_free_context = &open_count;
        open_count++;
        port_accept(&port, transport);
    }
    for (int i = 0; i < 4; i++) loop_run_once(loop, 0);
    assert_int_equal(open_count, PORT_HANDSHAKES_MAX);
    assert_int_equal(port.handshake_count, PORT_HANDSHAKES_MAX);
    assert_non_null(strstr(logged, "tls: too many handshakes are under way"));
    port_close(&port);
    for (int i = 0; i < 4; i++) loop_run_once(loop, 0);
    assert_int_equal(open_count, 0);
    assert_int_equal(port.handshake_count, 0);
    loop_free(loop);
    tls_free(tls);
}

struct slow_work {
    struct loop_deferred deferred;
    unsigned *done;
};

static void on_slow_work(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    (*((struct slow_work *)deferred)->done)++;
}

static void test_slow_work_is_shared_out(void **state)
{
    (void)state;
    enum { WORKS = LOOP_SLOW_PER_TURN * 3 };
    struct loop *loop = loop_new();
    struct slow_work works[WORKS];
    unsigned done = 0;
    for (size_t i = 0; i < WORKS; i++) {
        works[i] = (struct slow_work){.deferred.run = on_slow_work, .done = &done};
        loop_defer_slow(loop, &works[i].deferred);
    }
    loop_defer_cancel(loop, &works[WORKS - 1].deferred);
    unsigned before = 0;
    for (int turns = 0; turns < 20 && done < WORKS - 1; turns++) {
        loop_run_once(loop, LOOP_SECOND);
        assert_true(done - before <= LOOP_SLOW_PER_TURN);
        before = done;
    }
    assert_int_equal(done, WORKS - 1);
    loop_free(loop);
}

/* ---- files ---- */

static void copy_file(const char *from, const char *to)
{
    char command[512];
    snprintf(command, sizeof(command), "cp %s %s.new && mv %s.new %s", from, to, to, to);
    assert_int_equal(system(command), 0);
}

/* Whether the client takes the server and is taken. */
static bool gets_in(struct tls *server, struct tls *client)
{
    struct pair pair;
    memset(&pair, 0, sizeof(pair));
    logged[0] = 0;
    pair.loop = loop_new();
    pair.server_tls = server;
    pair.client_tls = client;
    end_start(&pair, &pair.server, server, NULL);
    end_start(&pair, &pair.client, client, "server.test");
    turn(&pair);
    bool both = pair.client.opened && pair.server.opened;
    pair.server_tls = pair.client_tls = NULL;
    pair_stop(&pair);
    return both;
}

static void test_renewal(void **state)
{
    (void)state;
    copy_file(file("server.pem"), file("live.pem"));
    copy_file(file("server.key"), file("live.key"));
    issue(&authority, "renewed", "renewed", "DNS:server.test");
    struct tls_config server = server_config(), client = client_config();
    server.certificate_file = file("live.pem");
    server.key_file = file("live.key");
    struct tls *server_tls = tls_of(&server), *old_tls, *new_tls;
    client.allowed_names = "server";
    old_tls = tls_of(&client);
    client.allowed_names = "renewed";
    new_tls = tls_of(&client);
    assert_true(gets_in(server_tls, old_tls));
    assert_false(gets_in(server_tls, new_tls));
    /* In between the two files do not fit: the one before serves on. */
    copy_file(file("renewed.pem"), file("live.pem"));
    assert_true(gets_in(server_tls, old_tls));
    assert_non_null(strstr(logged, "the one before stays in use"));
    assert_true(gets_in(server_tls, old_tls));
    assert_null(strstr(logged, "the one before stays in use"));
    copy_file(file("renewed.key"), file("live.key"));
    assert_true(gets_in(server_tls, new_tls));
    assert_false(gets_in(server_tls, old_tls));
    /* A file that is gone fails the handshake, as in etcd. */
    assert_int_equal(unlink(file("live.key")), 0);
    assert_false(gets_in(server_tls, new_tls));
    assert_non_null(strstr(logged, "failed to find peer cert files"));
    copy_file(file("renewed.key"), file("live.key"));
    assert_true(gets_in(server_tls, new_tls));
    tls_free(server_tls);
    tls_free(old_tls);
    tls_free(new_tls);
}

static void expect_refusal(const struct tls_config *config, const char *text)
{
    struct tls *tls;
    struct error *error = tls_new(config, &tls);
    assert_non_null(error);
    if (strstr(error->text, text) == NULL) fail_msg("\"%s\" is not \"%s\"", error->text, text);
    error_free(error);
}

static void test_bad_files(void **state)
{
    (void)state;
    struct tls_config config = server_config();
    config.key_file = file("none.key");
    expect_refusal(&config, "none.key: no such file or directory");
    config.key_file = file("alice.key");
    expect_refusal(&config, "tls: private key does not match public key");
    config.key_file = NULL;
    expect_refusal(&config, "KeyFile and CertFile must both be present[key: , cert: ");
    config.certificate_file = NULL;
    expect_refusal(&config, "KeyFile and CertFile are not presented");
    config = server_config();
    config.certificate_file = config.key_file;
    expect_refusal(&config, "PEM inputs may have been switched");
    config = server_config();
    config.authorities_file = file("none.pem");
    expect_refusal(&config, "none.pem: no such file or directory");
    config.authorities_file = file("server.key");
    expect_refusal(&config, "failed to find certificate PEM data");
    config = server_config();
    config.cipher_suites = "TLS_AES_128_GCM_SHA256,NOPE";
    expect_refusal(&config, "unexpected TLS cipher suite \"NOPE\" (there are: TLS_AES_128_GCM_SHA256, ");
}

static void test_self_signed(void **state)
{
    (void)state;
    const char *const hosts[] = {"127.0.0.1", "::1", "server.test"};
    struct self_signed made = {0}, again = {0};
    struct stat before, after;
    struct error *error = self_signed_make(file("fixtures/client"), hosts, 3, 0, &logger, &made);
    assert_string_equal(error->text, "selfSignedCertValidity is invalid,it should be greater than 0");
    error_free(error);
    assert_null(self_signed_make(file("fixtures/client"), hosts, 3, 1, &logger, &made));
    assert_int_equal(stat(made.key_file, &before), 0);
    assert_int_equal(before.st_mode & 0777, 0600);
    assert_null(self_signed_make(file("fixtures/client"), hosts, 3, 1, &logger, &again));
    assert_int_equal(stat(again.key_file, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    struct tls_config server = server_config(), client = client_config();
    server.certificate_file = made.certificate_file;
    server.key_file = made.key_file;
    refused(&server, &client, "server.test", "remote error: tls: bad certificate", "unknown authority");
    struct pair pair;
    client.skip_verify = true;
    pair_start(&pair, &server, &client, "whoever.test");
    assert_true(pair.client.opened);
    pair_stop(&pair);
    /* Whoever has the certificate itself may trust it. */
    client.skip_verify = false;
    client.authorities_file = made.certificate_file;
    pair_start(&pair, &server, &client, "::1");
    assert_true(pair.client.opened);
    pair_stop(&pair);
    free(made.certificate_file);
    free(made.key_file);
    free(again.certificate_file);
    free(again.key_file);
}

/* ---- names ---- */

static void test_name_matching(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *host;
        bool matches;
    } cases[] = {
        {"a.test", "a.test", true},
        {"A.Test", "a.tEST", true},
        {"a.test", "a.test.", true},
        {"a.test", "b.test", false},
        {"*.test", "a.test", true},
        {"*.test", "a.b.test", false},
        {"*.test", "test", false},
        {"*.test", ".test", false},
        {"a.*.test", "a.b.test", false},
        {"*a.test", "ba.test", false},
        {"*", "test", false},
        {"*", "*", true},
        {"a..test", "a..test", true},
        {"", "a", false},
        {"a", "", false},
        {".", ".", false},
        {"a_b.test", "a_b.test", true},
        {"-a.test", "-a.test", true},
        {"*.*.test", "a.b.test", false},
        {"a.test.", "a.test", false},
        {"a b.test", "a b.test", true},
        {"*.wild.test", "*.wild.test", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (tls_names_match(bytes_from_string(cases[i].pattern), bytes_from_string(cases[i].host)) !=
            cases[i].matches)
            fail_msg("%s and %s", cases[i].pattern, cases[i].host);
}

static void check_names(const char *common, const char *alternatives, const char *host, const char *says)
{
    X509 *certificate =
        authority_issue(&authority,
                        &(struct certificate_request){.name = common, .alternatives = alternatives}, NULL);
    struct error *error = tls_names_check(certificate, host);
    if (says == NULL)
        assert_null(error);
    else
        assert_string_equal(error->text, says);
    error_free(error);
    X509_free(certificate);
}

static void test_name_texts(void **state)
{
    (void)state;
    check_names("x", "IP:127.0.0.1,IP:::1", "::1", NULL);
    check_names("x", "IP:127.0.0.1,IP:::1", "[::1]", NULL);
    check_names("x", "IP:127.0.0.1,IP:::1", "0:0::1", NULL);
    check_names("x", "IP:127.0.0.1", "::ffff:127.0.0.1", NULL);
    check_names("x", "DNS:a,DNS:b", "c", "x509: certificate is valid for a, b, not c");
    check_names("x", "DNS:a", "127.0.0.1",
                "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs");
    check_names("x", "DNS:127.0.0.1", "127.0.0.1",
                "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs");
    check_names("x", "IP:127.0.0.1", "localhost",
                "x509: certificate is not valid for any names, but wanted to match localhost");
    check_names("localhost", NULL, "localhost",
                "x509: certificate relies on legacy Common Name field, use SANs instead");
    check_names("localhost", "DNS:other", "localhost", "x509: certificate is valid for other, not localhost");
}

static char *common_name_of(const char *first, int first_size, const char *second)
{
    X509 *certificate = authority_issue(&authority, &(struct certificate_request){0}, NULL);
    X509_NAME *subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)first, first_size, -1, 0);
    if (second != NULL)
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)second, -1, -1, 0);
    char *name = tls_names_common(certificate);
    X509_free(certificate);
    return name;
}

/* Who a certificate stands for must not depend on who reads it. */
static void test_common_names(void **state)
{
    (void)state;
    char *name = common_name_of("root", 4, NULL);
    assert_string_equal(name, "root");
    free(name);
    name = common_name_of("alice", 5, "bob");
    assert_string_equal(name, "bob");
    free(name);
    assert_null(common_name_of("root\0.evil", 10, NULL));
}

static void test_cipher_names(void **state)
{
    (void)state;
    struct buf list = {0}, missing = {0};
    assert_null(tls_ciphers_translate(" TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 , TLS_AES_128_GCM_SHA256",
                                      &list, &missing));
    assert_string_equal(buf_string(&list), "ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=1");
    assert_int_equal(missing.size, 0);
    buf_clear(&list);
    assert_null(tls_ciphers_translate("TLS_AES_256_GCM_SHA384", &list, &missing));
    assert_int_equal(list.size, 0);
    /* OpenSSL's own names are not taken. */
    struct error *error = tls_ciphers_translate("ECDHE-RSA-AES128-GCM-SHA256", &list, &missing);
    assert_non_null(error);
    error_free(error);
    buf_deinit(&list);
    buf_deinit(&missing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_random_traffic),
        cmocka_unit_test(test_reading_stops),
        cmocka_unit_test(test_one_name_for_all),
        cmocka_unit_test(test_refused_servers),
        cmocka_unit_test(test_refused_clients),
        cmocka_unit_test(test_common_name_allowed),
        cmocka_unit_test(test_refused_protocols),
        cmocka_unit_test(test_plain_text),
        cmocka_unit_test(test_handshake_timeout),
        cmocka_unit_test(test_too_many_handshakes),
        cmocka_unit_test(test_slow_work_is_shared_out),
        cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_self_signed),
        cmocka_unit_test(test_name_matching),
        cmocka_unit_test(test_name_texts),
        cmocka_unit_test(test_common_names),
        cmocka_unit_test(test_cipher_names),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
