#include "base/grpc_code.h"

#include <stddef.h>

/* The HTTP column is that of grpc-gateway v2; 499 is nginx's "client closed request". */
static const struct {
    const char *name;
    int http_status;
} codes[GRPC_CODES] = {
    [GRPC_OK] = {"OK", 200},
    [GRPC_CANCELED] = {"Canceled", 499},
    [GRPC_UNKNOWN] = {"Unknown", 500},
    [GRPC_INVALID_ARGUMENT] = {"InvalidArgument", 400},
    [GRPC_DEADLINE_EXCEEDED] = {"DeadlineExceeded", 504},
    [GRPC_NOT_FOUND] = {"NotFound", 404},
    [GRPC_ALREADY_EXISTS] = {"AlreadyExists", 409},
    [GRPC_PERMISSION_DENIED] = {"PermissionDenied", 403},
    [GRPC_RESOURCE_EXHAUSTED] = {"ResourceExhausted", 429},
    [GRPC_FAILED_PRECONDITION] = {"FailedPrecondition", 400},
    [GRPC_ABORTED] = {"Aborted", 409},
    [GRPC_OUT_OF_RANGE] = {"OutOfRange", 400},
    [GRPC_UNIMPLEMENTED] = {"Unimplemented", 501},
    [GRPC_INTERNAL] = {"Internal", 500},
    [GRPC_UNAVAILABLE] = {"Unavailable", 503},
    [GRPC_DATA_LOSS] = {"DataLoss", 500},
    [GRPC_UNAUTHENTICATED] = {"Unauthenticated", 401},
};

const char *grpc_code_name(enum grpc_code code)
{
    return (unsigned)code < GRPC_CODES ? codes[code].name : NULL;
}

int grpc_code_http_status(enum grpc_code code)
{
    return (unsigned)code < GRPC_CODES ? codes[code].http_status : 500;
}
