/* txn_grammar: the text of transactions.
 *
 *     compare     TARGET("KEY") OP "VALUE"
 *                 TARGET: ver version c create m mod val value lease; OP: = != < >
 *     operation   put, get or del with the command's own flags, words quoted as in a shell
 *
 * KEY and VALUE are Go string literals; VALUE is quoted for numbers, too. Pure functions over bytes from
 * outside: any input is answered with a request or with the exit code and text that etcdctl has for it.
 */
#ifndef SHELL_TXN_GRAMMAR_H
#define SHELL_TXN_GRAMMAR_H

#include "shell/command.h"

#include "rpc.pb-c.h"

enum { TXN_LINE_MAX = 16 * 1024 * 1024 };

/* Reads one compare line into *compare (memory in the arena). *used (may be NULL) is how much of the line was
 * read: what follows the value is not looked at. 0, or the exit code with the reason. */
int txn_parse_compare(struct bytes line, struct arena *arena, Etcdserverpb__Compare *compare, size_t *used,
                      struct buf *reason);

/* Splits a line into words: "..." with Go's escapes, '...' literally, anything else up to the next blank. A
 * quote without its partner is skipped. False when an escape is malformed. */
bool txn_split_words(struct bytes line, struct arena *arena, struct words *words);

struct txn_operation {
    struct invocation line;
    bool warns; /* as for del */
};

/* Reads one operation line into *request (memory in the arena). 0, or the exit code with the reason; *usage
 * gets the usage text for a mistake in the flags. */
int txn_parse_operation(struct bytes line, struct arena *arena, Etcdserverpb__RequestOp *request,
                        struct txn_operation *operation, struct buf *usage, struct buf *reason);

/* `text` without the blanks round it. */
struct bytes txn_trim(struct bytes text);

#endif
