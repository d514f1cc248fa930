/* etcdserverpb.KV. */
#include "server/service.h"

#include "rpc.pb-c.h"

#define KV(name, operation, descriptor) SERVICE_UNARY("etcdserverpb.KV", name, operation, descriptor)

const struct grpc_method *const service_kv_methods[] = {
    KV("Range", NODE_RANGE, etcdserverpb__range_request__descriptor),
    KV("Put", NODE_PUT, etcdserverpb__put_request__descriptor),
    KV("DeleteRange", NODE_DELETE_RANGE, etcdserverpb__delete_range_request__descriptor),
    KV("Txn", NODE_TXN, etcdserverpb__txn_request__descriptor),
    KV("Compact", NODE_COMPACT, etcdserverpb__compaction_request__descriptor),
    NULL,
};
