#include "shell/txn_grammar.h"

#include "api/message.h"
#include "base/text.h"
#include "shell/help.h"
#include "shell/kv_request.h"
#include "shell/shell.h"

#include <assert.h>

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static struct bytes skip(struct bytes text, size_t size)
{
    return bytes_of(text.data + size, text.size - size);
}

static struct bytes skip_blanks(struct bytes text)
{
    while (text.size > 0 && is_blank(text.data[0])) text = skip(text, 1);
    return text;
}

struct bytes txn_trim(struct bytes text)
{
    text = skip_blanks(text);
    while (text.size > 0 && is_blank(text.data[text.size - 1])) text.size--;
    return text;
}

/* ---- Compares ---- */

/* The parts of a compare line, as far as they were read. */
struct compare_parts {
    struct bytes target, operator;
    struct buf key, value;
    bool complete;
};

/* A Go literal at the start of *rest, which moves behind it. */
static bool read_literal(struct bytes *rest, struct buf *value)
{
    *rest = skip_blanks(*rest);
    size_t size = text_go_unquote(*rest, value);
    if (size == 0) {
        buf_clear(value);
        return false;
    }
    *rest = skip(*rest, size);
    return true;
}

/* Reads `"KEY") OP "VALUE"`; returns what is left. */
static struct bytes read_parts(struct bytes rest, struct compare_parts *parts)
{
    if (!read_literal(&rest, &parts->key)) return rest;
    if (rest.size == 0 || rest.data[0] != ')') return rest;
    rest = skip(rest, 1);
    struct bytes after = skip_blanks(rest);
    if (after.size == rest.size) return rest;
    size_t size = 0;
    while (size < after.size && !is_blank(after.data[size])) size++;
    parts->operator= bytes_of(after.data, size);
    rest = skip(after, size);
    if (rest.size == 0) return rest;
    parts->complete = read_literal(&rest, &parts->value);
    return rest;
}

static int malformed(struct buf *reason, struct bytes line, const struct compare_parts *parts)
{
    buf_append_string(reason, "malformed comparison: ");
    buf_append_bytes(reason, line);
    if (parts == NULL) return SHELL_BAD_INPUT;
    buf_append_string(reason, "; got ");
    buf_append_bytes(reason, parts->target);
    buf_append_byte(reason, '(');
    text_go_quote(reason, buf_bytes(&parts->key));
    buf_append_string(reason, ") ");
    buf_append_bytes(reason, parts->operator);
    buf_append_byte(reason, ' ');
    text_go_quote(reason, buf_bytes(&parts->value));
    return SHELL_BAD_INPUT;
}

static const struct target {
    const char *name;
    Etcdserverpb__Compare__CompareTarget target;
    int base; /* of the number; 0: bytes */
} targets[] = {
    {"ver", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION, 10},
    {"version", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION, 10},
    {"c", ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE, 10},
    {"create", ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE, 10},
    {"m", ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD, 10},
    {"mod", ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD, 10},
    {"val", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE, 0},
    {"value", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE, 0},
    {"lease", ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE, 16},
};

static const struct {
    const char *name;
    Etcdserverpb__Compare__CompareResult result;
} operators[] = {
    {"=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL},
    {"!=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL},
    {"<", ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS},
    {">", ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER},
};

static const struct target *find_target(struct bytes name)
{
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        if (bytes_equal(bytes_from_string(targets[i].name), name)) return &targets[i];
    return NULL;
}

static bool read_operator(struct bytes name, Etcdserverpb__Compare *compare)
{
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
        if (!bytes_equal(bytes_from_string(operators[i].name), name)) continue;
        compare->result = operators[i].result;
        return true;
    }
    return false;
}

/* Puts the value into the union's member for the target. False when it should be a number and is none. */
static bool read_value(const struct target *target, struct buf *value, struct arena *arena,
                       Etcdserverpb__Compare *compare)
{
    compare->target = target->target;
    int64_t number = 0;
    if (target->base > 0) {
        if (memchr(buf_string(value), 0, value->size) != NULL) return false;
        if (!text_parse_int64(buf_string(value), target->base, &number, NULL)) return false;
    }
    switch (target->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        compare->version = number;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
        compare->create_revision = number;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        compare->mod_revision = number;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
        compare->lease = number;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE:
    default:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
        compare->value = message_binary(arena_copy(arena, buf_bytes(value)));
        break;
    }
    return true;
}

static int build_compare(struct bytes line, struct compare_parts *parts, struct arena *arena,
                         Etcdserverpb__Compare *compare, struct buf *reason)
{
    if (!parts->complete) return malformed(reason, line, parts);
    const struct target *target = find_target(parts->target);
    if (target == NULL) {
        malformed(reason, line, NULL);
        buf_append_string(reason, " (unknown target ");
        buf_append_bytes(reason, parts->target);
        buf_append_byte(reason, ')');
        return SHELL_BAD_INPUT;
    }
    *compare = (Etcdserverpb__Compare)ETCDSERVERPB__COMPARE__INIT;
    compare->key = message_binary(arena_copy(arena, buf_bytes(&parts->key)));
    if (!read_value(target, &parts->value, arena, compare)) {
        buf_append_string(reason, "invalid txn compare request: ");
        buf_append_bytes(reason, line);
        return SHELL_BAD_INPUT;
    }
    if (read_operator(parts->operator, compare)) return SHELL_OK;
    /* etcd's client panics here, which ends with the same code. */
    malformed(reason, line, NULL);
    buf_append_string(reason, " (unknown operator ");
    buf_append_bytes(reason, parts->operator);
    buf_append_string(reason, ", there are = != < >)");
    return SHELL_BAD_CONNECTION;
}

int txn_parse_compare(struct bytes line, struct arena *arena, Etcdserverpb__Compare *compare, size_t *used,
                      struct buf *reason)
{
    line = txn_trim(line);
    const uint8_t *parenthesis = line.size == 0 ? NULL : memchr(line.data, '(', line.size);
    if (parenthesis == NULL) return malformed(reason, line, NULL);
    size_t target_size = (size_t)(parenthesis - line.data);
    struct compare_parts parts = {.target = bytes_of(line.data, target_size)};
    struct bytes rest = read_parts(skip(line, target_size + 1), &parts);
    if (used != NULL) *used = line.size - rest.size;
    int status = build_compare(line, &parts, arena, compare, reason);
    buf_deinit(&parts.key);
    buf_deinit(&parts.value);
    return status;
}

/* ---- Words ---- */

/* The size of the quoted run at the start of `text`, quotes included; 0 when it is not closed. */
static size_t quoted_size(struct bytes text)
{
    uint8_t quote = text.data[0];
    for (size_t i = 1; i < text.size; i++) {
        if (text.data[i] == quote) return i + 1;
        if (quote == '"' && text.data[i] == '\\') i++;
    }
    return 0;
}

bool txn_split_words(struct bytes line, struct arena *arena, struct words *words)
{
    *words = (struct words){0};
    struct buf value = {0};
    bool good = true;
    for (line = skip_blanks(line); line.size > 0 && good; line = skip_blanks(line)) {
        uint8_t first = line.data[0];
        size_t size = first == '"' || first == '\'' ? quoted_size(line) : 0;
        buf_clear(&value);
        if (size > 0 && first == '"') {
            good = text_go_unquote(bytes_of(line.data, size), &value) == size;
            if (good) words_add(words, arena, buf_bytes(&value));
        } else if (size > 0) {
            words_add(words, arena, bytes_of(line.data + 1, size - 2));
        } else if (first == '"' || first == '\'') {
            size = 1;
        } else {
            while (size < line.size && !is_blank(line.data[size])) size++;
            words_add(words, arena, bytes_of(line.data, size));
        }
        line = skip(line, size);
    }
    buf_deinit(&value);
    return good;
}

/* ---- Operations ---- */

static int invalid(struct buf *reason, const char *what, struct bytes line)
{
    buf_printf(reason, "invalid txn %srequest: ", what);
    buf_append_bytes(reason, line);
    return SHELL_BAD_INPUT;
}

/* The request of the command that was found. */
static int build_operation(struct txn_operation *operation, struct arena *arena,
                           Etcdserverpb__RequestOp *request, struct buf *reason)
{
    const struct invocation *line = &operation->line;
    *request = (Etcdserverpb__RequestOp)ETCDSERVERPB__REQUEST_OP__INIT;
    if (strcmp(line->command->name, "put") == 0) {
        request->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        request->request_put = arena_alloc(arena, sizeof(*request->request_put));
        return kv_put_request(line, BYTES_EMPTY, request->request_put, reason);
    }
    if (strcmp(line->command->name, "get") == 0) {
        request->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        request->request_range = arena_alloc(arena, sizeof(*request->request_range));
        return kv_get_request(line, arena, request->request_range, reason);
    }
    assert(strcmp(line->command->name, "del") == 0);
    request->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    request->request_delete_range = arena_alloc(arena, sizeof(*request->request_delete_range));
    return kv_del_request(line, arena, request->request_delete_range, &operation->warns, reason);
}

int txn_parse_operation(struct bytes line, struct arena *arena, Etcdserverpb__RequestOp *request,
                        struct txn_operation *operation, struct buf *usage, struct buf *reason)
{
    line = txn_trim(line);
    *operation = (struct txn_operation){.warns = false};
    struct words words, rest;
    if (!txn_split_words(line, arena, &words)) {
        buf_append_string(reason, "invalid syntax");
        return SHELL_BAD_INPUT;
    }
    if (words.count < 2) return invalid(reason, "compare ", line);
    struct command_path path;
    struct bytes unknown;
    bool found = command_find(&command_transaction_root, &words, arena, &path, &rest, &unknown);
    if (!found || path.depth == 1) return invalid(reason, "", line);
    operation->line.command = command_of(&path);
    operation->line.path = command_path_text(&path, arena);
    command_flags(&path, arena, false, &operation->line.flags);
    struct buf mistake = {0};
    enum flag_outcome outcome =
        flag_set_parse(&operation->line.flags, &rest, &operation->line.words, &mistake);
    buf_deinit(&mistake);
    if (outcome != FLAG_PARSED) {
        help_operation_usage(usage, &path, arena);
        return invalid(reason, "", line);
    }
    return build_operation(operation, arena, request, reason);
}
