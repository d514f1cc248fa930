/* errors: the failures of etcd's API, as every client knows them.
 *
 * etcd's clients recognise an error by its exact text, so this table is part of the protocol: one row per
 * error with the gRPC code it travels under and its text. The server answers from it, the client library
 * looks texts up in it, the core returns its numbers. Free of any library, so that the pure core may include
 * it.
 *
 * Two rows go out under another code than etcd's own table says, because etcd's servers really send them so
 * (API_ERROR_MEMBER_NOT_ENOUGH_STARTED and API_ERROR_TOO_MANY_REQUESTS: Unknown); the rows hold what is sent.
 */
#ifndef API_ERRORS_H
#define API_ERRORS_H

#include "base/bytes.h"
#include "base/grpc_code.h"

#include <stdbool.h>

enum api_error {
    API_OK = 0,
    /* Canceled */
    API_ERROR_WATCH_CANCELED,
    API_ERROR_CANCELED, /* the caller gave up while the request was under way inside the server */
    /* InvalidArgument */
    API_ERROR_EMPTY_KEY,
    API_ERROR_KEY_NOT_FOUND,
    API_ERROR_VALUE_PROVIDED,
    API_ERROR_LEASE_PROVIDED,
    API_ERROR_TOO_MANY_OPS,
    API_ERROR_DUPLICATE_KEY,
    API_ERROR_INVALID_CLIENT_API_VERSION,
    API_ERROR_INVALID_SORT_OPTION,
    API_ERROR_MEMBER_BAD_URLS,
    API_ERROR_REQUEST_TOO_LARGE,
    API_ERROR_USER_EMPTY,
    API_ERROR_ROLE_EMPTY,
    API_ERROR_AUTH_FAILED,
    API_ERROR_PERMISSION_NOT_GIVEN,
    API_ERROR_INVALID_AUTH_MANAGEMENT,
    API_ERROR_AUTH_OLD_REVISION,
    API_ERROR_WRONG_DOWNGRADE_VERSION_FORMAT,
    API_ERROR_INVALID_DOWNGRADE_TARGET_VERSION,
    /* DeadlineExceeded; sent without the "etcdserver: " prefix */
    API_ERROR_DEADLINE_EXCEEDED,
    /* Canceled; sent without the prefix: the client went away */
    API_ERROR_CONTEXT_CANCELED,
    /* NotFound */
    API_ERROR_LEASE_NOT_FOUND,
    API_ERROR_MEMBER_NOT_FOUND,
    /* PermissionDenied */
    API_ERROR_PERMISSION_DENIED,
    /* ResourceExhausted */
    API_ERROR_NO_SPACE,
    /* Unknown on the wire, see above */
    API_ERROR_TOO_MANY_REQUESTS,
    API_ERROR_MEMBER_NOT_ENOUGH_STARTED,
    /* FailedPrecondition */
    API_ERROR_LEASE_EXIST,
    API_ERROR_MEMBER_EXIST,
    API_ERROR_PEER_URL_EXIST,
    API_ERROR_MEMBER_NOT_LEARNER,
    API_ERROR_LEARNER_NOT_READY,
    API_ERROR_TOO_MANY_LEARNERS,
    API_ERROR_CLUSTER_ID_MISMATCH, /* peers only */
    API_ERROR_ROOT_USER_NOT_EXIST,
    API_ERROR_ROOT_ROLE_NOT_EXIST,
    API_ERROR_USER_ALREADY_EXIST,
    API_ERROR_USER_NOT_FOUND,
    API_ERROR_ROLE_ALREADY_EXIST,
    API_ERROR_ROLE_NOT_FOUND,
    API_ERROR_ROLE_NOT_GRANTED,
    API_ERROR_PERMISSION_NOT_GRANTED,
    API_ERROR_AUTH_NOT_ENABLED,
    API_ERROR_NOT_LEADER,
    API_ERROR_NOT_CAPABLE,
    API_ERROR_NOT_SUPPORTED_FOR_LEARNER,
    API_ERROR_BAD_LEADER_TRANSFEREE,
    API_ERROR_CLUSTER_VERSION_UNAVAILABLE,
    API_ERROR_DOWNGRADE_IN_PROCESS,
    API_ERROR_NO_INFLIGHT_DOWNGRADE,
    /* OutOfRange */
    API_ERROR_COMPACTED,
    API_ERROR_FUTURE_REVISION,
    API_ERROR_LEASE_TTL_TOO_LARGE,
    /* Unavailable */
    API_ERROR_NO_LEADER,
    API_ERROR_LEADER_CHANGED,
    API_ERROR_STOPPED,
    API_ERROR_TIMEOUT,
    API_ERROR_TIMEOUT_LEADER_FAIL,
    API_ERROR_TIMEOUT_CONNECTION_LOST,
    API_ERROR_TIMEOUT_WAIT_APPLIED_INDEX,
    API_ERROR_UNHEALTHY,
    /* DataLoss */
    API_ERROR_CORRUPT,
    /* Unauthenticated */
    API_ERROR_INVALID_AUTH_TOKEN,
    /* Unknown, texts of the code behind the API that etcd passes on as they are */
    API_ERROR_NO_PASSWORD_USER,   /* Authenticate with a password for a user that has none */
    API_ERROR_NOT_PRIMARY_LESSOR, /* keep-alive on a leader that cannot confirm its leadership */
    API_ERROR_LEADER_TRANSFER_TIMEOUT,
    API_ERROR_UNKNOWN_METHOD, /* a downgrade action that does not exist */
    /* Unknown, the recipes (Lock and Election services, etcdctl lock and elect) */
    API_ERROR_ELECTION_NOT_LEADER,
    API_ERROR_ELECTION_NO_LEADER,
    API_ERROR_SESSION_EXPIRED,
    API_ERROR_MISSING_LEADER_KEY,
    /* Unimplemented, no prefix: what RangeStream refuses */
    API_ERROR_RANGE_STREAM_SORT,
    API_ERROR_RANGE_STREAM_FILTER,

    API_ERROR_COUNT,
};

/* GRPC_OK for API_OK. */
enum grpc_code api_error_code(enum api_error error);
/* The whole text, "etcdserver: ..." where etcd sends it so; "" for API_OK. A static string. */
const char *api_error_text(enum api_error error);
/* The row with this text, API_OK when there is none. The gRPC code plays no part: servers of different
 * releases send the same text under different codes. */
enum api_error api_error_by_text(struct bytes text);
/* True for the rows that etcd's client library shows by their text alone, without "rpc error: code = ...". */
bool api_error_is_known_to_clients(enum api_error error);

#endif
