/* grpc.health.v1.Health: answered here, without the node. The one service known is "", SERVING from the
 * moment the port answers; with the gate StopGRPCServiceOnDefrag NOT_SERVING while the database is
 * defragmented, for clients that then prefer another member (calls are served all the same). */
#include "server/service.h"

#include "api/message.h"
#include "base/container.h"
#include "base/memory.h"

#include <stdlib.h>

#include "health.pb-c.h"

#define LOOK_INTERVAL (20 * LOOP_MILLISECOND)

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

static Grpc__Health__V1__HealthCheckResponse__ServingStatus status_now(const struct grpc_call *call)
{
    struct service_context *service = grpc_call_server_context(call);
    return service->stop_on_defragment && atomic_load(&service->defragments) > 0
               ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
               : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
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
    send_status(call, status_now(call));
    grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

/* One stream, looked after as long as the status can change. */
struct health_watch {
    struct grpc_call *call;
    struct loop_timer timer;
    Grpc__Health__V1__HealthCheckResponse__ServingStatus told;
};

static void look_again(struct loop *loop, struct loop_timer *timer)
{
    struct health_watch *watched = CONTAINER(timer, struct health_watch, timer);
    Grpc__Health__V1__HealthCheckResponse__ServingStatus now = status_now(watched->call);
    loop_timer_set(loop, timer, clock_monotonic() + LOOK_INTERVAL);
    if (now == watched->told) return;
    watched->told = now;
    send_status(watched->call, now);
}

static void end_watch(struct grpc_call *call)
{
    struct health_watch *watched = grpc_call_context(call);
    if (watched == NULL) return;
    loop_timer_clear(grpc_call_loop(call), &watched->timer);
    free(watched);
}

/* One message at once; without the gate the status does not change any more, and the stream stays open. */
static void watch(struct grpc_call *call, struct bytes message)
{
    const Grpc__Health__V1__HealthCheckRequest *request =
        service_decode(call, &grpc__health__v1__health_check_request__descriptor, message);
    if (request == NULL) return;
    if (request->service[0] != '\0') {
        send_status(call, GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN);
        return;
    }
    Grpc__Health__V1__HealthCheckResponse__ServingStatus now = status_now(call);
    const struct service_context *service = grpc_call_server_context(call);
    if (service->stop_on_defragment && grpc_call_context(call) == NULL) {
        struct health_watch *watched = mem_zalloc(1, sizeof(*watched));
        *watched = (struct health_watch){.call = call, .timer.run = look_again, .told = now};
        grpc_call_set_context(call, watched);
        loop_timer_set(grpc_call_loop(call), &watched->timer, clock_monotonic() + LOOK_INTERVAL);
    }
    send_status(call, now);
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
    &(const struct grpc_method){.service = "grpc.health.v1.Health",
                                .name = "Watch",
                                .kind = GRPC_SERVER_STREAM,
                                .on_message = watch,
                                .on_close = end_watch},
    HEALTH("List", GRPC_UNARY, list),
    NULL,
};
