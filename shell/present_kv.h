/* present_kv: how put, get, del, txn, watch and compaction answers look. */
#ifndef SHELL_PRESENT_KV_H
#define SHELL_PRESENT_KV_H

#include "shell/printer.h"

/* Etcdserverpb__PutResponse, RangeResponse, DeleteRangeResponse, TxnResponse; no detail. */
extern const struct presentation present_put, present_get, present_del, present_txn;
/* Etcdserverpb__WatchResponse; no detail. */
extern const struct presentation present_watch;

#endif
