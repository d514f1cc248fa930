/* put, get, del and compaction. */
#include "api/message.h"
#include "base/text.h"
#include "shell/commands.h"
#include "shell/kv_request.h"
#include "shell/present_kv.h"
#include "shell/shell.h"

/* How long `del A B` waits for second thoughts. */
#define SECOND_THOUGHTS (INT64_C(2) * 1000000000)

static int refuse(struct shell *shell, int status, struct buf *reason)
{
    shell_fail(shell, status, "%s", buf_string(reason));
    buf_deinit(reason);
    return status;
}

/* ---- put ---- */

static int run_put(struct shell *shell, const struct invocation *line)
{
    Etcdserverpb__PutRequest request;
    struct buf input = {0}, reason = {0};
    if (kv_put_wants_input(line)) shell_read_all(shell, &input);
    int status = kv_put_request(line, buf_bytes(&input), &request, &reason);
    if (status == SHELL_OK)
        status =
            shell_call_and_show(shell, line, CLIENT_PUT, &request.base, SHELL_BOUNDED, &present_put, NULL);
    else
        refuse(shell, status, &reason);
    buf_deinit(&input);
    return status;
}

const struct command command_put = {
    .name = "put",
    .usage = "[options] <key> <value> (<value> can also be given from stdin)",
    .summary = "Puts the given key into the store",
    .description =
        "Without a value on the line (and without --ignore-value) all of standard input is the value.\n"
        "A value that begins with a dash is taken for an option; put -- before it:\n"
        "\n"
        "$ put <key> -- <value>\n"
        "$ put -- <key> <value>",
    .flags = kv_put_flags,
    .run = run_put,
    .properties = COMMAND_TAKES_KEY,
};

/* ---- get ---- */

static int run_get(struct shell *shell, const struct invocation *line)
{
    Etcdserverpb__RangeRequest request;
    struct buf reason = {0};
    int status = kv_get_request(line, shell->arena, &request, &reason);
    if (status != SHELL_OK) return refuse(shell, status, &reason);
    status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    ProtobufCMessage *response;
    struct client_error *error =
        shell_call(shell, CLIENT_RANGE, &request.base, SHELL_BOUNDED, NULL, &response);
    if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
    enum output_format format = shell->style.format;
    /* Found out late, as etcdctl does: the request has been made. */
    if (flag_bool(&line->flags, "count-only") && format != OUTPUT_FIELDS)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "--count-only is only for `--write-out=fields`");
    shell->style.value_only = flag_bool(&line->flags, "print-value-only");
    if (shell->style.value_only && format != OUTPUT_SIMPLE)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "print-value-only is only for `--write-out=simple`");
    return shell_show(shell, &present_get, response, NULL);
}

const struct command command_get = {
    .name = "get",
    .usage = "[options] <key> [range_end]",
    .summary = "Gets the key or a range of keys",
    .flags = kv_get_flags,
    .run = run_get,
    .properties = COMMAND_TAKES_KEY,
};

/* ---- del ---- */

static const char *shown_key(struct shell *shell, ProtobufCBinaryData key)
{
    struct buf text = {0};
    text_go_quote(&text, message_bytes(key));
    const char *copy = arena_string(shell->arena, buf_bytes(&text));
    buf_deinit(&text);
    return copy;
}

static int run_del(struct shell *shell, const struct invocation *line)
{
    Etcdserverpb__DeleteRangeRequest request;
    struct buf reason = {0};
    bool warns = false;
    int status = kv_del_request(line, shell->arena, &request, &warns, &reason);
    if (status != SHELL_OK) return refuse(shell, status, &reason);
    bool asks = shell->streams.confirm != NULL;
    if (request.range_end.len > 0 &&
        !shell_confirm(shell, "Delete all keys from %s to %s?", shown_key(shell, request.key),
                       request.range_end.len == 1 && request.range_end.data[0] == 0
                           ? "the end"
                           : shown_key(shell, request.range_end)))
        return SHELL_OK;
    if (warns && !asks) {
        shell_print_error(
            shell,
            "Warning: Keys between %s and %s will be deleted. Interrupt the command within 2 seconds to "
            "keep them; --range skips this pause.\n",
            shown_key(shell, request.key), shown_key(shell, request.range_end));
        if (!shell_sleep(shell, SECOND_THOUGHTS)) return shell_fail(shell, SHELL_FAILED, "context canceled");
    }
    return shell_call_and_show(shell, line, CLIENT_DELETE_RANGE, &request.base, SHELL_BOUNDED, &present_del,
                               NULL);
}

const struct command command_del = {
    .name = "del",
    .usage = "[options] <key> [range_end]",
    .summary = "Removes the specified key or range of keys [key, range_end)",
    .flags = kv_del_flags,
    .run = run_del,
    .properties = COMMAND_TAKES_KEY,
};

/* ---- compaction ---- */

static const struct flag compaction_flags[] = {
    {"physical", 0, FLAG_BOOL, "false", "wait until the old revisions are really removed", NULL},
    {0},
};

static int run_compaction(struct shell *shell, const struct invocation *line)
{
    if (line->words.count != 1)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "compaction command needs 1 argument");
    int64_t revision = 0;
    struct buf reason = {0};
    if (!text_parse_int64(word_string(&line->words, 0), 10, &revision, &reason))
        return refuse(shell, SHELL_FAILED, &reason);
    if (!shell_confirm(shell, "Forget all history before revision %lld?", (long long)revision))
        return SHELL_OK;
    int status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = revision;
    request.physical = flag_bool(&line->flags, "physical");
    ProtobufCMessage *response;
    struct client_error *error =
        shell_call(shell, CLIENT_COMPACT, &request.base, SHELL_BOUNDED, NULL, &response);
    if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
    shell_print(shell, "compacted revision %lld\n", (long long)revision);
    return SHELL_OK;
}

const struct command command_compaction = {
    .name = "compaction",
    .usage = "[options] <revision>",
    .summary = "Compacts the event history in etcd",
    .flags = compaction_flags,
    .run = run_compaction,
};
