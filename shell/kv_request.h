/* kv_request: put, get and del command lines as requests.
 *
 * Pure: used by the commands, by the operations inside a transaction and by tests. Each function returns 0,
 * or the exit code (128, 4) with the reason, text for "Error: ...". Requests borrow from the line and from
 * the arena.
 */
#ifndef SHELL_KV_REQUEST_H
#define SHELL_KV_REQUEST_H

#include "shell/command.h"

#include "rpc.pb-c.h"

extern const struct flag kv_put_flags[], kv_get_flags[], kv_del_flags[];

/* Whether the value of this put is not on the line and comes from standard input. */
bool kv_put_wants_input(const struct invocation *line);
/* `input` is what standard input held; empty counts as nothing. */
int kv_put_request(const struct invocation *line, struct bytes input, Etcdserverpb__PutRequest *request,
                   struct buf *reason);
int kv_get_request(const struct invocation *line, struct arena *arena, Etcdserverpb__RangeRequest *request,
                   struct buf *reason);
/* *warns: the range was given as two keys without --range, as people do who mean two keys. */
int kv_del_request(const struct invocation *line, struct arena *arena,
                   Etcdserverpb__DeleteRangeRequest *request, bool *warns, struct buf *reason);

#endif
