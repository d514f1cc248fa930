/* txn: three blocks of lines on standard input make one transaction. */
#include "shell/commands.h"
#include "shell/present_kv.h"
#include "shell/shell.h"
#include "shell/txn_grammar.h"

static const struct flag txn_flags[] = {
    {"interactive", 'i', FLAG_BOOL, "false", "ask for the transaction's three parts", NULL},
    {0},
};

/* The servers' own limits are far below; these bound what one transaction may hold in memory here. */
enum { TXN_ITEMS_MAX = 100000 };

struct pointers {
    void **items;
    size_t count;
};

static void pointers_add(struct pointers *pointers, struct arena *arena, void *item)
{
    if ((pointers->count & (pointers->count - 1)) == 0) {
        size_t room = pointers->count == 0 ? 1 : pointers->count * 2;
        void **items = arena_alloc(arena, room * sizeof(*items));
        if (pointers->count > 0) memcpy(items, pointers->items, pointers->count * sizeof(*items));
        pointers->items = items;
    }
    pointers->items[pointers->count++] = item;
}

struct transaction {
    struct shell *shell;
    struct pointers compares, success, failure;
};

static int add_compare(struct transaction *transaction, struct bytes line, struct pointers *block)
{
    struct arena *arena = transaction->shell->arena;
    Etcdserverpb__Compare *compare = arena_alloc(arena, sizeof(*compare));
    struct buf reason = {0};
    int status = txn_parse_compare(line, arena, compare, NULL, &reason);
    if (status == SHELL_OK)
        pointers_add(block, arena, compare);
    else
        shell_fail(transaction->shell, status, "%s", buf_string(&reason));
    buf_deinit(&reason);
    return status;
}

static int add_operation(struct transaction *transaction, struct bytes line, struct pointers *block)
{
    struct shell *shell = transaction->shell;
    Etcdserverpb__RequestOp *request = arena_alloc(shell->arena, sizeof(*request));
    struct txn_operation operation;
    struct buf reason = {0}, usage = {0};
    /* A put's value must be on its line: standard input is the transaction's own. */
    int status = txn_parse_operation(line, shell->arena, request, &operation, &usage, &reason);
    if (status == SHELL_OK) {
        pointers_add(block, shell->arena, request);
    } else {
        shell_print_error(shell, "%s", buf_string(&usage));
        shell_fail(shell, status, "%s", buf_string(&reason));
    }
    buf_deinit(&reason);
    buf_deinit(&usage);
    return status;
}

typedef int add_fn(struct transaction *transaction, struct bytes line, struct pointers *block);

/* Lines up to an empty one. */
static int read_block(struct transaction *transaction, add_fn *add, struct pointers *block)
{
    struct shell *shell = transaction->shell;
    struct buf line = {0};
    int status = SHELL_OK;
    while (status == SHELL_OK) {
        if (!shell_read_line(shell, &line)) {
            status = shell_fail(shell, SHELL_BAD_INPUT, "EOF");
            break;
        }
        struct bytes text = txn_trim(buf_bytes(&line));
        if (text.size == 0) break;
        if (text.size > TXN_LINE_MAX || block->count == TXN_ITEMS_MAX)
            status = shell_fail(shell, SHELL_BAD_INPUT, "the transaction is too long");
        else
            status = add(transaction, arena_copy(shell->arena, text), block);
    }
    buf_deinit(&line);
    return status;
}

static int read_transaction(struct transaction *transaction, bool prompts)
{
    static const struct {
        const char *prompt;
        add_fn *add;
    } blocks[] = {
        {"compares:\n", add_compare},
        {"success requests (get, put, del):\n", add_operation},
        {"failure requests (get, put, del):\n", add_operation},
    };
    struct pointers *lists[] = {&transaction->compares, &transaction->success, &transaction->failure};
    for (size_t i = 0; i < 3; i++) {
        if (prompts) shell_print(transaction->shell, "%s", blocks[i].prompt);
        int status = read_block(transaction, blocks[i].add, lists[i]);
        if (status != SHELL_OK) return status;
    }
    return SHELL_OK;
}

static int run_txn(struct shell *shell, const struct invocation *line)
{
    if (line->words.count > 0)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "txn command does not accept argument");
    int status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    struct transaction transaction = {.shell = shell};
    bool edits = shell->streams.edit_transaction != NULL;
    if (edits) {
        struct buf text = {0};
        if (!shell->streams.edit_transaction(shell->streams.context, &text)) {
            buf_deinit(&text);
            return SHELL_OK;
        }
        buf_deinit(&shell->input);
        shell->input = text;
    }
    status = read_transaction(&transaction, flag_bool(&line->flags, "interactive") && !edits);
    if (status != SHELL_OK) return status;
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    request.n_compare = transaction.compares.count;
    request.compare = (Etcdserverpb__Compare **)transaction.compares.items;
    request.n_success = transaction.success.count;
    request.success = (Etcdserverpb__RequestOp **)transaction.success.items;
    request.n_failure = transaction.failure.count;
    request.failure = (Etcdserverpb__RequestOp **)transaction.failure.items;
    return shell_call_and_show(shell, line, CLIENT_TXN, &request.base, SHELL_PATIENT, &present_txn, NULL);
}

const struct command command_txn = {
    .name = "txn",
    .usage = "[options]",
    .summary = "Txn processes all the requests in one transaction",
    .description =
        "Reads compares, requests for success and requests for failure, each ended by an empty line:\n"
        "\n"
        "value(\"user1\") = \"bad\"\n"
        "\n"
        "del user1\n"
        "\n"
        "put user1 good\n",
    .flags = txn_flags,
    .run = run_txn,
};
