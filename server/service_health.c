/* grpc.health.v1.Health: answered here, without the node. The one service known is "", SERVING from the
 * moment the port answers. */
#include "server/service.h"

#include "api/message.h"

#include "health.pb-c.h"

static void send_message(struct grpc_call *call, const ProtobufCMessage *message)
{
    struct buf encoded = {0};
    message_pack(&encoded, message);
    grpc_call_send_blob(call, blob_from(buf_bytes(&encoded)));
    buf_deinit(&encoded);
}

static void send_status(struct grpc_call *call, Grpc__Health__V1__HealthCheckResponse__ServingStatus status)
{
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status;
    send_message(call, &response.base);
}

static void check(struct grpc_call *call, struct bytes message)
{
    const Grpc__Health__V1__HealthCheckRequest *request =
        service_decode(call, &grpc__health__v1__health_check_request__descriptor, message);
    if (request == NULL) return;
    if (request->service[0] != '\0') {
        grpc_call_fail(call, GRPC_NOT_FOUND, "unknown service");
        return;
    }
    send_status(call, GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
    grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

/* The status does not change in this server's life: one message, then the stream stays open. */
static void watch(struct grpc_call *call, struct bytes message)
{
    const Grpc__Health__V1__HealthCheckRequest *request =
        service_decode(call, &grpc__health__v1__health_check_request__descriptor, message);
    if (request == NULL) return;
    send_status(call, request->service[0] == '\0'
                          ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
                          : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN);
}

static void list(struct grpc_call *call, struct bytes message)
{
    if (service_decode(call, &grpc__health__v1__health_list_request__descriptor, message) == NULL) return;
    Grpc__Health__V1__HealthCheckResponse serving = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    serving.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    Grpc__Health__V1__HealthListResponse__StatusesEntry entry =
        GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__STATUSES_ENTRY__INIT;
    entry.value = &serving;
    Grpc__Health__V1__HealthListResponse__StatusesEntry *entries[] = {&entry};
    Grpc__Health__V1__HealthListResponse response = GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__INIT;
    response.statuses = entries;
    response.n_statuses = 1;
    send_message(call, &response.base);
    grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

#define HEALTH(name_, kind_, on_message_)                                                                    \
    (&(const struct grpc_method){                                                                            \
        .service = "grpc.health.v1.Health", .name = (name_), .kind = (kind_), .on_message = (on_message_)})

const struct grpc_method *const service_health_methods[] = {
    HEALTH("Check", GRPC_UNARY, check),
    HEALTH("Watch", GRPC_SERVER_STREAM, watch),
    HEALTH("List", GRPC_UNARY, list),
    NULL,
};
