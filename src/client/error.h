/* error: how a call to a server failed.
 *
 * NULL is success. The known etcd error is found by its text, as servers of different releases send the same
 * text under different codes.
 */
#ifndef CLIENT_ERROR_H
#define CLIENT_ERROR_H

#include "api/errors.h"
#include "base/buf.h"

struct client_error {
    enum grpc_code code;  /* never GRPC_OK */
    enum api_error known; /* API_OK when it is none of etcd's */
    bool local;           /* ours: the call's own deadline passed, or it was canceled here */
    bool bare;            /* prints as its message alone */
    char *message;        /* the text as it came, "etcdserver: ..." */
};

struct client_error *client_error_new(enum grpc_code code, struct bytes message)
    __attribute__((returns_nonnull, warn_unused_result));
/* From the text of a whole error, as a watch's cancel_reason has it: "rpc error: code = PermissionDenied desc
 * = ...", or a message alone (code FailedPrecondition). Prints as it came. */
struct client_error *client_error_from_text(const char *text)
    __attribute__((returns_nonnull, warn_unused_result));
/* The call's own deadline: prints as "context deadline exceeded". */
struct client_error *client_error_deadline(void) __attribute__((returns_nonnull, warn_unused_result));
/* The call was canceled here: prints as "context canceled". */
struct client_error *client_error_canceled(void) __attribute__((returns_nonnull, warn_unused_result));
struct client_error *client_error_copy(const struct client_error *error) __attribute__((warn_unused_result));
/* NULL is allowed. */
void client_error_free(struct client_error *error);

/* As etcdctl prints it: the text alone for etcd's known errors and for local ones, else
 * "rpc error: code = Unavailable desc = ...". */
void client_error_format(struct buf *out, const struct client_error *error);

static inline bool client_error_is(const struct client_error *error, enum api_error known)
{
    return error != NULL && error->known == known;
}

#endif
