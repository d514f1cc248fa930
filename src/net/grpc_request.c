/* Request headers: what is kept of them, and the checks before a call begins, in grpc-go's order and words.
 */
#include "base/memory.h"
#include "base/text.h"
#include "net/grpc_internal.h"

#include <assert.h>

static const struct bytes grpc_type = BYTES_LITERAL("application/grpc");

static void metadata_add(struct grpc_call *call, struct bytes key, struct bytes value)
{
    if (call->metadata_count == call->metadata_capacity) {
        call->metadata_capacity = call->metadata_capacity == 0 ? 8 : call->metadata_capacity * 2;
        call->metadata = mem_realloc(call->metadata, call->metadata_capacity * sizeof(*call->metadata));
    }
    call->metadata[call->metadata_count++] = (struct grpc_metadata){.key = key, .value = value};
}

static struct bytes keep(struct grpc_call *call, struct bytes bytes)
{
    return arena_copy(grpc_call_arena(call), bytes);
}

static void keep_error(struct grpc_call *call, struct buf *text)
{
    if (call->header_error.size == 0) call->header_error = keep(call, buf_bytes(text));
}

/* ---- one function per header that means something to us ---- */

static void on_path(struct grpc_call *call, struct bytes value)
{
    call->method = server_find_method(call->server, value, &call->method_index);
    if (call->method == NULL || call->connection->router != NULL) call->path = keep(call, value);
}

static void on_method(struct grpc_call *call, struct bytes value)
{
    call->is_post = bytes_equal(value, BYTES_LITERAL("POST"));
    if (!call->is_post || call->connection->router != NULL) call->http_method = keep(call, value);
}

static void on_content_type(struct grpc_call *call, struct bytes value)
{
    call->content_type_seen = true;
    call->content_type_valid = bytes_starts_with(value, grpc_type) &&
                               (value.size == grpc_type.size || value.data[grpc_type.size] == '+' ||
                                value.data[grpc_type.size] == ';');
    /* The usual one costs no copy. */
    call->content_type = bytes_equal(value, grpc_type) ? grpc_type : keep(call, value);
    metadata_add(call, BYTES_LITERAL("content-type"), call->content_type);
}

static void on_timeout(struct grpc_call *call, struct bytes value)
{
    struct buf reason = {0};
    int64_t timeout;
    if (grpc_timeout_parse(value, &timeout, &reason)) {
        call->deadline = timeout > INT64_MAX - call->started ? INT64_MAX : call->started + timeout;
    } else {
        struct buf text = {0};
        buf_append_string(&text, "malformed grpc-timeout: ");
        buf_append_bytes(&text, buf_bytes(&reason));
        keep_error(call, &text);
        buf_deinit(&text);
    }
    buf_deinit(&reason);
}

static void on_encoding(struct grpc_call *call, struct bytes value)
{
    if (value.size == 0 || bytes_equal(value, BYTES_LITERAL("identity"))) {
        call->encoding = ENCODING_IDENTITY;
    } else if (bytes_equal(value, BYTES_LITERAL("gzip"))) {
        call->encoding = ENCODING_GZIP;
    } else {
        call->encoding = ENCODING_UNKNOWN;
        call->encoding_name = keep(call, value);
    }
}

static void ignore(struct grpc_call *call, struct bytes value)
{
    (void)call;
    (void)value;
}

static const struct {
    const char *name;
    size_t size;
    void (*take)(struct grpc_call *call, struct bytes value);
} known_headers[] = {
    {":path", 5, on_path},
    {":method", 7, on_method},
    {":scheme", 7, ignore},
    {"content-type", 12, on_content_type},
    {"te", 2, ignore},
    {"grpc-timeout", 12, on_timeout},
    {"grpc-encoding", 13, on_encoding},
    {"grpc-accept-encoding", 20, ignore},
    {"grpc-message-type", 17, ignore},
    {"grpc-status", 11, ignore},
    {"grpc-message", 12, ignore},
};

/* Where Go's decoder finds the first byte that is not base64, for its error text. */
static size_t base64_fault(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        bool good = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
                    c == '/';
        if (!good) return i;
    }
    return text.size;
}

static void binary_header(struct grpc_call *call, struct bytes key, struct bytes value)
{
    struct buf decoded = {0};
    if (text_parse_base64(value, &decoded)) {
        metadata_add(call, key, keep(call, buf_bytes(&decoded)));
    } else {
        struct buf text = {0};
        buf_append_string(&text, "malformed binary metadata ");
        text_go_quote(&text, value);
        buf_append_string(&text, " in header ");
        text_go_quote(&text, key);
        buf_printf(&text, ": illegal base64 data at input byte %zu", base64_fault(value));
        keep_error(call, &text);
        buf_deinit(&text);
    }
    buf_deinit(&decoded);
}

void request_header(struct grpc_call *call, struct bytes name, struct bytes value)
{
    for (size_t i = 0; i < sizeof(known_headers) / sizeof(known_headers[0]); i++) {
        if (name.size == known_headers[i].size && memcmp(name.data, known_headers[i].name, name.size) == 0) {
            known_headers[i].take(call, value);
            return;
        }
    }
    struct bytes key = keep(call, name);
    if (name.size > 4 && memcmp(name.data + name.size - 4, "-bin", 4) == 0)
        binary_header(call, key, value);
    else
        metadata_add(call, key, keep(call, value));
}

static void refuse_quoted(struct grpc_call *call, int http_status, enum grpc_code code, const char *before,
                          struct bytes quoted, const char *after)
{
    struct buf text = {0};
    buf_append_string(&text, before);
    text_go_quote(&text, quoted);
    buf_append_string(&text, after);
    call_refuse(call, http_status, code, buf_bytes(&text));
    buf_deinit(&text);
}

/* True when the request can become a call; otherwise it has been answered. */
static bool request_acceptable(struct grpc_call *call)
{
    if (!call->content_type_valid) {
        refuse_quoted(call, 415, GRPC_INVALID_ARGUMENT, "invalid gRPC request content-type ",
                      call->content_type, "");
        return false;
    }
    if (call->header_error.size > 0) {
        call_refuse(call, 400, GRPC_INTERNAL, call->header_error);
        return false;
    }
    if (!call->is_post) {
        refuse_quoted(call, 405, GRPC_INTERNAL, "Received a HEADERS frame with :method ", call->http_method,
                      " which should be POST");
        return false;
    }
    if (call->method == NULL) {
        struct buf text = {0};
        server_unknown_method(call->server, call->path, &text);
        call_refuse(call, 200, GRPC_UNIMPLEMENTED, buf_bytes(&text));
        buf_deinit(&text);
        return false;
    }
    if (call->encoding == ENCODING_UNKNOWN) {
        refuse_quoted(call, 200, GRPC_UNIMPLEMENTED, "grpc: Decompressor is not installed for grpc-encoding ",
                      call->encoding_name, "");
        return false;
    }
    return true;
}

void request_headers_done(struct grpc_call *call)
{
    if (!call->content_type_valid && call->connection->router != NULL)
        http2_exchange_begin(call);
    else if (request_acceptable(call))
        call_begin(call);
}
