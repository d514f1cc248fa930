/* A TLS connection whose bytes are cut into pieces, changed and lost on their way to the server, as the input
 * says. Never a crash; the server hears the end exactly once; what it receives is what the client has sent,
 * or less, never anything else. */
#include "base/memory.h"
#include "net/tls.h"
#include "net/transport_memory.h"
#include "tests/fuzz/fuzz.h"
#include "tests/net/certificates.h"

#include <unistd.h>

enum { ROUNDS = 40, SENT = 40000 };

/* ---- certificates, once ---- */

static char directory[] = "/tmp/fuzz_tls_stream.XXXXXX";
static char authority_file[64], certificate_file[64], key_file[64];
static struct tls *server_tls, *client_tls;

static void forget(void)
{
    tls_free(server_tls);
    tls_free(client_tls);
    unlink(authority_file);
    unlink(certificate_file);
    unlink(key_file);
    rmdir(directory);
}

static void prepare(void)
{
    struct authority authority;
    FUZZ_CHECK(mkdtemp(directory) != NULL);
    snprintf(authority_file, sizeof(authority_file), "%s/ca.pem", directory);
    snprintf(certificate_file, sizeof(certificate_file), "%s/cert.pem", directory);
    snprintf(key_file, sizeof(key_file), "%s/key.pem", directory);
    authority_init(&authority, "a");
    authority_write(&authority, authority_file);
    authority_issue_files(&authority,
                          &(struct certificate_request){.name = "s", .alternatives = "DNS:s.test"},
                          certificate_file, key_file);
    authority_deinit(&authority);
    const struct tls_config server = {.role = TLS_SERVER,
                                      .certificate_file = certificate_file,
                                      .key_file = key_file,
                                      .alpn = TLS_ALPN_H2};
    const struct tls_config client = {.role = TLS_CLIENT,
                                      .authorities_file = authority_file,
                                      .alpn = TLS_ALPN_H2};
    FUZZ_CHECK(tls_new(&server, &server_tls) == NULL && tls_new(&client, &client_tls) == NULL);
    atexit(forget);
}

/* ---- two ends ---- */

struct end {
    struct transport *outer, *inner;
    struct buf wire, received;
    size_t closed;
};

static void on_read(void *context, struct bytes bytes)
{
    buf_append_bytes(&((struct end *)context)->received, bytes);
}

static void on_close(void *context, const struct error *error)
{
    struct end *end = context;
    (void)error;
    end->closed++;
    end->outer = NULL;
}

static void on_free(void *context)
{
    ((struct end *)context)->inner = NULL;
}

static const struct transport_handler handler = {.on_read = on_read, .on_close = on_close};

static void start(struct end *end, struct loop *loop, const struct tls *tls, const char *server_name)
{
    const struct transport_security *security = tls_security(tls);
    end->inner = transport_memory_new(loop);
    end->inner->on_free = on_free;
    end->inner->on_free_context = end;
    transport_memory_sink(end->inner, &end->wire);
    end->outer = security->secure(security->context, end->inner, server_name);
    transport_set_handler(end->outer, &handler, end);
    transport_start(end->outer);
}

static bool takes(const struct end *end)
{
    return end->inner != NULL && end->inner->state == TRANSPORT_OPEN && end->inner->reading;
}

/* ---- the way to the server ---- */

struct input {
    const uint8_t *data;
    size_t size;
};

static uint8_t next(struct input *input)
{
    if (input->size == 0) return 0;
    input->size--;
    return *input->data++;
}

/* Three bytes of input for each piece: its size, and where in it which bits are changed. Without any more, it
 * comes whole. */
static void carry(struct end *from, struct end *to, struct input *input)
{
    size_t at = 0;
    struct buf bytes = from->wire;
    from->wire = (struct buf){0};
    if (from->inner != NULL) transport_memory_sink(from->inner, &from->wire);
    while (at < bytes.size && takes(to)) {
        size_t left = bytes.size - at, part = left;
        if (input != NULL && input->size > 0) {
            part = next(input) * (size_t)16 + 1;
            if (part > left) part = left;
            size_t place = next(input) % part;
            bytes.data[at + place] ^= next(input);
        }
        transport_memory_feed(to->inner, bytes_of(bytes.data + at, part));
        at += part;
    }
    struct buf rest = {0};
    if (to->inner != NULL) {
        buf_append(&rest, bytes.data + at, bytes.size - at);
        buf_append_bytes(&rest, buf_bytes(&from->wire));
        buf_deinit(&from->wire);
        from->wire = rest;
        if (from->inner != NULL) transport_memory_sink(from->inner, &from->wire);
    }
    buf_deinit(&bytes);
}

static void end_deinit(struct end *end)
{
    buf_deinit(&end->wire);
    buf_deinit(&end->received);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct end server = {0}, client = {0};
    static uint8_t sent[SENT];
    if (server_tls == NULL) prepare();
    for (size_t i = 0; i < SENT; i++) sent[i] = (uint8_t)(i * 7 + i / 251);
    struct loop *loop = loop_new();
    start(&server, loop, server_tls, NULL);
    start(&client, loop, client_tls, "s.test");
    chain_append(transport_output(client.outer), bytes_of(sent, SENT));
    for (int i = 0; i < ROUNDS; i++) {
        loop_run_once(loop, 0);
        carry(&client, &server, &input);
        carry(&server, &client, NULL);
    }
    FUZZ_CHECK(server.received.size <= SENT);
    FUZZ_CHECK(server.received.size == 0 || memcmp(server.received.data, sent, server.received.size) == 0);
    if (size == 0) FUZZ_CHECK(server.received.size == SENT);
    if (client.outer != NULL) transport_close(client.outer, NULL);
    if (server.outer != NULL) transport_close(server.outer, NULL);
    for (int i = 0; i < 6; i++) loop_run_once(loop, 0);
    FUZZ_CHECK(server.closed == 1 && client.closed == 1 && server.inner == NULL && client.inner == NULL);
    loop_free(loop);
    end_deinit(&server);
    end_deinit(&client);
    return 0;
}

bool fuzz_seed(size_t number, struct buf *out)
{
    static const char *const seeds[] = {"", "\x10\x01\0\x20\x02\0\x01\x03\0",
                                        "\xff\x40\0\xff\x40\0\xff\x10\x01"};
    static const size_t sizes[] = {0, 9, 9};
    if (number >= sizeof(sizes) / sizeof(sizes[0])) return false;
    buf_append(out, seeds[number], sizes[number]);
    return true;
}
