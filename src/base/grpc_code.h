/* grpc_code: the status codes of gRPC.
 *
 * Here and not in net, because the pure core, the wire side and the programs all speak of them. Names as in
 * Go's google.golang.org/grpc/codes, which is how etcd's texts print them.
 */
#ifndef BASE_GRPC_CODE_H
#define BASE_GRPC_CODE_H

enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
    GRPC_CODES, /* how many there are */
};

/* "DeadlineExceeded" ...; NULL for a number that is no code (Go prints those as "Code(99)"). */
const char *grpc_code_name(enum grpc_code code);
/* The HTTP status the JSON gateway answers with; 500 for a number that is no code. */
int grpc_code_http_status(enum grpc_code code);

#endif
