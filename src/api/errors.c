#include "api/errors.h"

#include <assert.h>

#define PREFIX "etcdserver: "

struct row {
    enum grpc_code code;
    bool known_to_clients;
    const char *text;
};

static const struct row rows[API_ERROR_COUNT] = {
    [API_OK] = {GRPC_OK, false, ""},
    [API_ERROR_WATCH_CANCELED] = {GRPC_CANCELED, false, PREFIX "watch canceled"},
    [API_ERROR_CANCELED] = {GRPC_CANCELED, false, PREFIX "request canceled"},
    [API_ERROR_EMPTY_KEY] = {GRPC_INVALID_ARGUMENT, true, PREFIX "key is not provided"},
    [API_ERROR_KEY_NOT_FOUND] = {GRPC_INVALID_ARGUMENT, true, PREFIX "key not found"},
    [API_ERROR_VALUE_PROVIDED] = {GRPC_INVALID_ARGUMENT, true, PREFIX "value is provided"},
    [API_ERROR_LEASE_PROVIDED] = {GRPC_INVALID_ARGUMENT, true, PREFIX "lease is provided"},
    [API_ERROR_TOO_MANY_OPS] = {GRPC_INVALID_ARGUMENT, true, PREFIX "too many operations in txn request"},
    [API_ERROR_DUPLICATE_KEY] = {GRPC_INVALID_ARGUMENT, true, PREFIX "duplicate key given in txn request"},
    [API_ERROR_INVALID_CLIENT_API_VERSION] = {GRPC_INVALID_ARGUMENT, true,
                                              PREFIX "invalid client api version"},
    [API_ERROR_INVALID_SORT_OPTION] = {GRPC_INVALID_ARGUMENT, true, PREFIX "invalid sort option"},
    [API_ERROR_MEMBER_BAD_URLS] = {GRPC_INVALID_ARGUMENT, true, PREFIX "given member URLs are invalid"},
    [API_ERROR_REQUEST_TOO_LARGE] = {GRPC_INVALID_ARGUMENT, true, PREFIX "request is too large"},
    [API_ERROR_USER_EMPTY] = {GRPC_INVALID_ARGUMENT, true, PREFIX "user name is empty"},
    [API_ERROR_ROLE_EMPTY] = {GRPC_INVALID_ARGUMENT, true, PREFIX "role name is empty"},
    [API_ERROR_AUTH_FAILED] = {GRPC_INVALID_ARGUMENT, true,
                               PREFIX "authentication failed, invalid user ID or password"},
    [API_ERROR_PERMISSION_NOT_GIVEN] = {GRPC_INVALID_ARGUMENT, true, PREFIX "permission not given"},
    [API_ERROR_INVALID_AUTH_MANAGEMENT] = {GRPC_INVALID_ARGUMENT, true, PREFIX "invalid auth management"},
    [API_ERROR_AUTH_OLD_REVISION] = {GRPC_INVALID_ARGUMENT, true, PREFIX "revision of auth store is old"},
    [API_ERROR_WRONG_DOWNGRADE_VERSION_FORMAT] = {GRPC_INVALID_ARGUMENT, true,
                                                  PREFIX "wrong downgrade target version format"},
    [API_ERROR_INVALID_DOWNGRADE_TARGET_VERSION] = {GRPC_INVALID_ARGUMENT, true,
                                                    PREFIX "invalid downgrade target version"},
    [API_ERROR_DEADLINE_EXCEEDED] = {GRPC_DEADLINE_EXCEEDED, false, "context deadline exceeded"},
    [API_ERROR_CONTEXT_CANCELED] = {GRPC_CANCELED, false, "context canceled"},
    [API_ERROR_LEASE_NOT_FOUND] = {GRPC_NOT_FOUND, true, PREFIX "requested lease not found"},
    [API_ERROR_MEMBER_NOT_FOUND] = {GRPC_NOT_FOUND, true, PREFIX "member not found"},
    [API_ERROR_PERMISSION_DENIED] = {GRPC_PERMISSION_DENIED, true, PREFIX "permission denied"},
    [API_ERROR_NO_SPACE] = {GRPC_RESOURCE_EXHAUSTED, true, PREFIX "mvcc: database space exceeded"},
    [API_ERROR_TOO_MANY_REQUESTS] = {GRPC_UNKNOWN, true, PREFIX "too many requests"},
    [API_ERROR_MEMBER_NOT_ENOUGH_STARTED] = {GRPC_UNKNOWN, true,
                                             PREFIX
                                             "re-configuration failed due to not enough started members"},
    [API_ERROR_LEASE_EXIST] = {GRPC_FAILED_PRECONDITION, true, PREFIX "lease already exists"},
    [API_ERROR_MEMBER_EXIST] = {GRPC_FAILED_PRECONDITION, true, PREFIX "member ID already exist"},
    [API_ERROR_PEER_URL_EXIST] = {GRPC_FAILED_PRECONDITION, true, PREFIX "Peer URLs already exists"},
    [API_ERROR_MEMBER_NOT_LEARNER] = {GRPC_FAILED_PRECONDITION, true,
                                      PREFIX "can only promote a learner member"},
    [API_ERROR_LEARNER_NOT_READY] = {GRPC_FAILED_PRECONDITION, true,
                                     PREFIX "can only promote a learner member which is in sync with leader"},
    [API_ERROR_TOO_MANY_LEARNERS] = {GRPC_FAILED_PRECONDITION, true,
                                     PREFIX "too many learner members in cluster"},
    [API_ERROR_CLUSTER_ID_MISMATCH] = {GRPC_FAILED_PRECONDITION, true, PREFIX "cluster ID mismatch"},
    [API_ERROR_ROOT_USER_NOT_EXIST] = {GRPC_FAILED_PRECONDITION, true, PREFIX "root user does not exist"},
    [API_ERROR_ROOT_ROLE_NOT_EXIST] = {GRPC_FAILED_PRECONDITION, true,
                                       PREFIX "root user does not have root role"},
    [API_ERROR_USER_ALREADY_EXIST] = {GRPC_FAILED_PRECONDITION, true, PREFIX "user name already exists"},
    [API_ERROR_USER_NOT_FOUND] = {GRPC_FAILED_PRECONDITION, true, PREFIX "user name not found"},
    [API_ERROR_ROLE_ALREADY_EXIST] = {GRPC_FAILED_PRECONDITION, true, PREFIX "role name already exists"},
    [API_ERROR_ROLE_NOT_FOUND] = {GRPC_FAILED_PRECONDITION, true, PREFIX "role name not found"},
    [API_ERROR_ROLE_NOT_GRANTED] = {GRPC_FAILED_PRECONDITION, true, PREFIX "role is not granted to the user"},
    [API_ERROR_PERMISSION_NOT_GRANTED] = {GRPC_FAILED_PRECONDITION, true,
                                          PREFIX "permission is not granted to the role"},
    [API_ERROR_AUTH_NOT_ENABLED] = {GRPC_FAILED_PRECONDITION, true, PREFIX "authentication is not enabled"},
    [API_ERROR_NOT_LEADER] = {GRPC_FAILED_PRECONDITION, true, PREFIX "not leader"},
    [API_ERROR_NOT_CAPABLE] = {GRPC_FAILED_PRECONDITION, true, PREFIX "not capable"},
    [API_ERROR_NOT_SUPPORTED_FOR_LEARNER] = {GRPC_FAILED_PRECONDITION, true,
                                             PREFIX "rpc not supported for learner"},
    [API_ERROR_BAD_LEADER_TRANSFEREE] = {GRPC_FAILED_PRECONDITION, true, PREFIX "bad leader transferee"},
    [API_ERROR_CLUSTER_VERSION_UNAVAILABLE] = {GRPC_FAILED_PRECONDITION, true,
                                               PREFIX "cluster version not found during downgrade"},
    [API_ERROR_DOWNGRADE_IN_PROCESS] = {GRPC_FAILED_PRECONDITION, true,
                                        PREFIX "cluster has a downgrade job in progress"},
    [API_ERROR_NO_INFLIGHT_DOWNGRADE] = {GRPC_FAILED_PRECONDITION, true, PREFIX "no inflight downgrade job"},
    [API_ERROR_COMPACTED] = {GRPC_OUT_OF_RANGE, true, PREFIX "mvcc: required revision has been compacted"},
    [API_ERROR_FUTURE_REVISION] = {GRPC_OUT_OF_RANGE, true,
                                   PREFIX "mvcc: required revision is a future revision"},
    [API_ERROR_LEASE_TTL_TOO_LARGE] = {GRPC_OUT_OF_RANGE, true, PREFIX "too large lease TTL"},
    [API_ERROR_NO_LEADER] = {GRPC_UNAVAILABLE, true, PREFIX "no leader"},
    [API_ERROR_LEADER_CHANGED] = {GRPC_UNAVAILABLE, true, PREFIX "leader changed"},
    [API_ERROR_STOPPED] = {GRPC_UNAVAILABLE, true, PREFIX "server stopped"},
    [API_ERROR_TIMEOUT] = {GRPC_UNAVAILABLE, true, PREFIX "request timed out"},
    [API_ERROR_TIMEOUT_LEADER_FAIL] = {GRPC_UNAVAILABLE, true,
                                       PREFIX "request timed out, possibly due to previous leader failure"},
    [API_ERROR_TIMEOUT_CONNECTION_LOST] = {GRPC_UNAVAILABLE, true,
                                           PREFIX "request timed out, possibly due to connection lost"},
    [API_ERROR_TIMEOUT_WAIT_APPLIED_INDEX] =
        {GRPC_UNAVAILABLE, true, PREFIX "request timed out, waiting for the applied index took too long"},
    [API_ERROR_UNHEALTHY] = {GRPC_UNAVAILABLE, true, PREFIX "unhealthy cluster"},
    [API_ERROR_CORRUPT] = {GRPC_DATA_LOSS, true, PREFIX "corrupt cluster"},
    [API_ERROR_INVALID_AUTH_TOKEN] = {GRPC_UNAUTHENTICATED, true, PREFIX "invalid auth token"},
    [API_ERROR_NO_PASSWORD_USER] = {GRPC_UNKNOWN, false,
                                    "auth: authentication failed, password was given for no password user"},
    [API_ERROR_NOT_PRIMARY_LESSOR] = {GRPC_UNKNOWN, false, "not a primary lessor"},
    [API_ERROR_LEADER_TRANSFER_TIMEOUT] = {GRPC_UNKNOWN, false,
                                           PREFIX "request timed out, leader transfer took too long"},
    [API_ERROR_UNKNOWN_METHOD] = {GRPC_UNKNOWN, false, PREFIX "unknown method"},
    [API_ERROR_ELECTION_NOT_LEADER] = {GRPC_UNKNOWN, false, "election: not leader"},
    [API_ERROR_ELECTION_NO_LEADER] = {GRPC_UNKNOWN, false, "election: no leader"},
    [API_ERROR_SESSION_EXPIRED] = {GRPC_UNKNOWN, false, "mutex: session is expired"},
    [API_ERROR_MISSING_LEADER_KEY] = {GRPC_UNKNOWN, false, "\"leader\" field must be provided"},
    [API_ERROR_RANGE_STREAM_SORT] = {GRPC_UNIMPLEMENTED, false,
                                     "RangeStream does not support custom sort orders"},
    [API_ERROR_RANGE_STREAM_FILTER] = {GRPC_UNIMPLEMENTED, false,
                                       "RangeStream does not support revision filters"},
};

static const struct row *row_of(enum api_error error)
{
    assert((unsigned)error < API_ERROR_COUNT);
    assert(rows[error].text != NULL);
    return &rows[error];
}

enum grpc_code api_error_code(enum api_error error)
{
    return row_of(error)->code;
}

const char *api_error_text(enum api_error error)
{
    return row_of(error)->text;
}

bool api_error_is_known_to_clients(enum api_error error)
{
    return row_of(error)->known_to_clients;
}

/* Linear: some eighty comparisons, and only for calls that failed. */
enum api_error api_error_by_text(struct bytes text)
{
    for (unsigned i = API_OK + 1; i < API_ERROR_COUNT; i++)
        if (bytes_equal(text, bytes_from_string(rows[i].text))) return (enum api_error)i;
    return API_OK;
}
