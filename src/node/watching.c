/* Watch requests of client streams, as the hub wants them. */
#include "node/node_internal.h"

#include "api/keys.h"
#include "api/message.h"

struct watch_stream *node_watch_open(struct node *node, void *owner)
{
    return watch_stream_open(node->watches, owner, node->now);
}

static void create(struct node *node, struct watch_stream *stream, const struct node_identity *identity,
                   const Etcdserverpb__WatchCreateRequest *request)
{
    struct watch_create watch = {
        .key = request->key.len == 0 ? KEY_OPEN_END : message_bytes(request->key),
        .range_end = message_bytes(request->range_end),
        .start_revision = request->start_revision,
        .watch_id = request->watch_id,
        .progress_notify = request->progress_notify,
        .prev_kv = request->prev_kv,
        .fragment = request->fragment,
    };
    for (size_t i = 0; i < request->n_filters; i++) {
        if (request->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT)
            watch.no_put = true;
        if (request->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE)
            watch.no_delete = true;
    }
    const char *refusal = watch.start_revision < 0
                              ? NULL /* which is told first */
                              : node_authorize_watch(node, identity, watch.key, watch.range_end);
    if (refusal != NULL)
        watch_refuse(stream, refusal);
    else
        watch_create(stream, &watch, NULL);
}

void node_watch_run(struct node *node, struct watch_stream *stream, const struct node_identity *identity,
                    const void *watch_request)
{
    const Etcdserverpb__WatchRequest *request = watch_request;
    switch (request->request_union_case) {
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST:
        create(node, stream, identity, request->create_request);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST:
        watch_cancel(stream, request->cancel_request->watch_id);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST:
        watch_progress(stream);
        break;
    default:
        break; /* an empty request is ignored */
    }
}

void node_watch_request(struct node *node, struct watch_stream *stream, const struct node_identity *identity,
                        const void *watch_request)
{
    if (!node_hold_watch(node, stream, identity, watch_request))
        node_watch_run(node, stream, identity, watch_request);
}

void node_watch_delivered(struct node *node, struct watch_stream *stream, size_t bytes)
{
    (void)node;
    watch_delivered(stream, bytes);
}

void node_watch_close(struct node *node, struct watch_stream *stream)
{
    node_drop_held_watches(node, stream);
    watch_stream_close(stream);
}
