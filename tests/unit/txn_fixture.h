/* txn_fixture: transactions as they read: TXN(IF(...), THEN(OP(PUT, ...), ...), ELSE(...)). */
#ifndef TESTS_TXN_FIXTURE_H
#define TESTS_TXN_FIXTURE_H

#include "rpc.pb-c.h"

/* A string literal, which may hold zeros. */
#define B(literal) ((ProtobufCBinaryData){sizeof(literal) - 1, (uint8_t *)(uintptr_t)(literal)})
#define OP(kind, ...)                                                                                        \
    (&(Etcdserverpb__RequestOp){.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_##kind,            \
                                __VA_ARGS__})
#define COUNT_OF(...) (sizeof((void *[]){__VA_ARGS__}) / sizeof(void *))
#define IF(...)                                                                                              \
    .n_compare = COUNT_OF(__VA_ARGS__), .compare = (Etcdserverpb__Compare *[])                               \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define THEN(...)                                                                                            \
    .n_success = COUNT_OF(__VA_ARGS__), .success = (Etcdserverpb__RequestOp *[])                             \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define ELSE(...)                                                                                            \
    .n_failure = COUNT_OF(__VA_ARGS__), .failure = (Etcdserverpb__RequestOp *[])                             \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define TXN(...) (&(Etcdserverpb__TxnRequest){__VA_ARGS__})

#endif
