/* The guided transaction of the interactive shell: each line is checked as it is typed, the whole is shown
 * before it is sent. */
#include "shell/repl_internal.h"

#include "api/message.h"
#include "base/text.h"
#include "shell/txn_grammar.h"

#include <stdio.h>

enum { LINES_MAX = 1000 };

/* The accepted lines of one block; memory in the draft's arena. */
struct block {
    const char *lines[LINES_MAX];
    size_t count;
};

struct draft {
    struct repl *repl;
    struct arena *arena;
    struct block blocks[3];
};

static const struct {
    const char *heading;
    const char *word; /* in the summary */
} block_texts[3] = {
    {"compares:                                    value(\"k\") = \"v\"   mod(\"k\") > \"0\"", "if  "},
    {"success requests (get, put, del):", "then"},
    {"failure requests (get, put, del):", "else"},
};

static void complain(const struct draft *draft, const char *reason)
{
    bool utf8 = draft->repl->utf8;
    printf("  %s %s   (%s to edit the line)\n", utf8 ? "✖" : "x", reason, utf8 ? "↑" : "up");
    fflush(stdout);
}

/* What is wrong with a compare line, into *reason; false when nothing is. */
static bool compare_is_wrong(struct draft *draft, struct bytes line, Etcdserverpb__Compare *compare,
                             struct buf *reason)
{
    size_t used = 0;
    int status = txn_parse_compare(line, draft->arena, compare, &used, reason);
    struct bytes left = txn_trim(bytes_of(line.data + used, line.size - used));
    bool whole = status == SHELL_OK || memmem(buf_string(reason), reason->size, "; got", 5) == NULL;
    if (whole && left.size > 0) {
        buf_clear(reason);
        buf_append_string(reason, "unexpected text after the value: use \\\" inside quotes");
        return true;
    }
    return status != SHELL_OK;
}

static bool operation_is_wrong(struct draft *draft, struct bytes line, Etcdserverpb__RequestOp *request,
                               struct buf *reason)
{
    struct txn_operation operation;
    struct buf usage = {0};
    int status = txn_parse_operation(line, draft->arena, request, &operation, &usage, reason);
    buf_deinit(&usage);
    return status != SHELL_OK;
}

static bool is_wrong(struct draft *draft, size_t block, struct bytes line, struct buf *reason)
{
    Etcdserverpb__Compare compare;
    Etcdserverpb__RequestOp request;
    return block == 0 ? compare_is_wrong(draft, line, &compare, reason)
                      : operation_is_wrong(draft, line, &request, reason);
}

/* Reads one block; `old` are the lines of an earlier try, offered again. False when the user gave up. */
static bool read_block(struct draft *draft, size_t index, const struct block *old)
{
    struct block *block = &draft->blocks[index];
    struct buf line = {0}, reason = {0};
    size_t offered = 0;
    bool goes_on = true;
    puts(block_texts[index].heading);
    while (goes_on && block->count < LINES_MAX) {
        const char *prefill = offered < old->count ? old->lines[offered++] : NULL;
        goes_on = repl_read_line(draft->repl, "  ", prefill, &line) == REPL_LINE;
        struct bytes text = txn_trim(buf_bytes(&line));
        if (!goes_on || (text.size == 0 && prefill == NULL)) break;
        if (text.size == 0) continue;
        const char *kept = arena_string(draft->arena, text);
        repl_remember(draft->repl, kept);
        buf_clear(&reason);
        if (is_wrong(draft, index, bytes_of(kept, text.size), &reason))
            complain(draft, buf_string(&reason));
        else
            block->lines[block->count++] = kept;
    }
    buf_deinit(&line);
    buf_deinit(&reason);
    return goes_on;
}

/* ---- The summary ---- */

static void summarize_compare(struct draft *draft, const char *line, struct buf *out)
{
    static const char *const operators[] = {"=", ">", "<", "!="};
    static const char *const targets[] = {"version", "create", "mod", "value", "lease"};
    Etcdserverpb__Compare compare;
    struct buf reason = {0};
    if (compare_is_wrong(draft, bytes_from_string(line), &compare, &reason)) {
        buf_append_string(out, line);
        buf_deinit(&reason);
        return;
    }
    buf_printf(out, "%s(", targets[compare.target]);
    text_go_quote(out, message_bytes(compare.key));
    buf_printf(out, ") %s ", operators[compare.result]);
    if (compare.target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE)
        text_go_quote(out, message_bytes(compare.value));
    else if (compare.target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE)
        buf_printf(out, "%llx", (unsigned long long)compare.lease);
    else
        repl_format_number(out, compare.version); /* the union's numbers share their place */
    buf_deinit(&reason);
}

static void summarize_operation(struct draft *draft, const char *line, struct buf *out)
{
    Etcdserverpb__RequestOp request;
    struct buf reason = {0};
    bool wrong = operation_is_wrong(draft, bytes_from_string(line), &request, &reason);
    if (!wrong && request.request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
        buf_append_string(out, "put ");
        repl_format_value(draft->repl, out, message_bytes(request.request_put->key), 60);
        if (request.request_put->ignore_value)
            buf_append_string(out, " (value stays)");
        else
            buf_printf(out, " (%zu bytes)", request.request_put->value.len);
    } else {
        buf_append_string(out, line);
    }
    buf_deinit(&reason);
}

static void summarize(struct draft *draft)
{
    struct buf out = {0};
    for (size_t i = 0; i < 3; i++) {
        const struct block *block = &draft->blocks[i];
        for (size_t j = 0; j < block->count; j++) {
            buf_printf(&out, "%s  ", j == 0 ? block_texts[i].word : "    ");
            if (i == 0)
                summarize_compare(draft, block->lines[j], &out);
            else
                summarize_operation(draft, block->lines[j], &out);
            buf_append_byte(&out, '\n');
        }
        if (block->count == 0)
            buf_printf(&out, "%s  %s\n", block_texts[i].word, i == 0 ? "always" : "nothing");
    }
    printf("\n%s", buf_string(&out));
    buf_deinit(&out);
}

/* 'y', 'n' or 'e'. */
static char ask_to_send(struct draft *draft)
{
    struct buf line = {0};
    char answer = 0;
    while (answer == 0) {
        if (repl_read_line(draft->repl, "send? [Y/n/e] ", NULL, &line) != REPL_LINE)
            answer = 'n';
        else {
            const char *text = buf_string(&line);
            char first = text[strspn(text, " \t")];
            if (first == 0 || first == 'y' || first == 'Y') answer = 'y';
            if (first == 'n' || first == 'N') answer = 'n';
            if (first == 'e' || first == 'E') answer = 'e';
        }
    }
    buf_deinit(&line);
    return answer;
}

static void write_blocks(const struct draft *draft, struct buf *text)
{
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < draft->blocks[i].count; j++)
            buf_printf(text, "%s\n", draft->blocks[i].lines[j]);
        buf_append_byte(text, '\n');
    }
}

bool repl_edit_transaction(void *context, struct buf *text)
{
    struct repl *repl = context;
    struct arena *arena = arena_new();
    struct draft *draft = arena_zalloc(arena, sizeof(*draft)), *old = arena_zalloc(arena, sizeof(*old));
    draft->repl = repl;
    draft->arena = arena;
    bool reads = true;
    char answer = 'e';
    while (reads && answer == 'e') {
        *old = *draft;
        for (size_t i = 0; i < 3; i++) draft->blocks[i].count = 0;
        for (size_t i = 0; i < 3 && reads; i++) reads = read_block(draft, i, &old->blocks[i]);
        if (!reads) break;
        summarize(draft);
        answer = ask_to_send(draft);
    }
    bool sends = reads && answer == 'y';
    if (sends)
        write_blocks(draft, text);
    else
        puts("not sent");
    fflush(stdout);
    arena_free(arena);
    return sends;
}
