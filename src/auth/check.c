#include "auth/check.h"

#include "api/message.h"
#include "lease/lessor.h"

#include <stdlib.h>

static enum api_error keys(const struct auth_check *check, enum auth_access access, ProtobufCBinaryData key,
                           ProtobufCBinaryData range_end)
{
    return auth_check_keys(check->store, check->identity, access, message_bytes(key),
                           message_bytes(range_end));
}

struct key_visit {
    const struct auth_check *check;
    enum auth_access access;
    enum api_error error;
};

static bool visit_key(void *context, struct bytes key)
{
    struct key_visit *visit = context;
    visit->error =
        auth_check_keys(visit->check->store, visit->check->identity, visit->access, key, BYTES_EMPTY);
    return visit->error == API_OK;
}

enum api_error auth_check_lease(const struct auth_check *check, int64_t lease, enum auth_access access)
{
    struct key_visit visit = {.check = check, .access = access, .error = API_OK};
    if (lease == 0 || auth_check_admin(check->store, check->identity) == API_OK) return API_OK;
    (void)lessor_each_key(check->lessor, lease, visit_key, &visit);
    return visit.error;
}

enum api_error auth_check_leases(const struct auth_check *check)
{
    enum api_error error = API_OK;
    int64_t *ids = NULL;
    if (auth_check_admin(check->store, check->identity) == API_OK) return API_OK;
    size_t count = lessor_list(check->lessor, &ids);
    for (size_t i = 0; i < count && error == API_OK; i++) error = auth_check_lease(check, ids[i], AUTH_READ);
    free(ids);
    return error;
}

enum api_error auth_check_range(const struct auth_check *check, const Etcdserverpb__RangeRequest *request)
{
    return keys(check, AUTH_READ, request->key, request->range_end);
}

enum api_error auth_check_put(const struct auth_check *check, const Etcdserverpb__PutRequest *request)
{
    const ProtobufCBinaryData no_end = {0};
    enum api_error error = keys(check, AUTH_WRITE, request->key, no_end);
    if (error == API_OK) error = auth_check_lease(check, request->lease, AUTH_WRITE);
    if (error == API_OK && request->prev_kv) error = keys(check, AUTH_READ, request->key, no_end);
    return error;
}

enum api_error auth_check_delete_range(const struct auth_check *check,
                                       const Etcdserverpb__DeleteRangeRequest *request)
{
    enum api_error error = keys(check, AUTH_WRITE, request->key, request->range_end);
    if (error == API_OK && request->prev_kv) error = keys(check, AUTH_READ, request->key, request->range_end);
    return error;
}

static enum api_error check_operation(const struct auth_check *check,
                                      const Etcdserverpb__RequestOp *operation)
{
    switch (operation->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return auth_check_range(check, operation->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return auth_check_put(check, operation->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return auth_check_delete_range(check, operation->request_delete_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return auth_check_txn(check, operation->request_txn);
    default:
        return API_OK; /* an operation without content does nothing */
    }
}

/* As deep as the message, which message_unpack has bounded. */
enum api_error auth_check_txn(const struct auth_check *check, const Etcdserverpb__TxnRequest *request)
{
    enum api_error error = API_OK;
    for (size_t i = 0; i < request->n_compare && error == API_OK; i++)
        error = keys(check, AUTH_READ, request->compare[i]->key, request->compare[i]->range_end);
    for (size_t i = 0; i < request->n_success && error == API_OK; i++)
        error = check_operation(check, request->success[i]);
    for (size_t i = 0; i < request->n_failure && error == API_OK; i++)
        error = check_operation(check, request->failure[i]);
    return error;
}
