/* Watch requests of client streams, as the hub wants them. */
#include "node/node_internal.h"

#include "api/message.h"

struct watch_stream *node_watch_open(struct node *node, void *owner)
{
    return watch_stream_open(node->watches, owner, node->now);
}

static void create(struct watch_stream *stream, const Etcdserverpb__WatchCreateRequest *request)
{
    struct watch_create watch = {
        .key = message_bytes(request->key),
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
    watch_create(stream, &watch, NULL);
}

void node_watch_request(struct node *node, struct watch_stream *stream, const void *watch_request)
{
    const Etcdserverpb__WatchRequest *request = watch_request;
    (void)node;
    switch (request->request_union_case) {
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST:
        create(stream, request->create_request);
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

void node_watch_delivered(struct node *node, struct watch_stream *stream, size_t bytes)
{
    (void)node;
    watch_delivered(stream, bytes);
}

void node_watch_close(struct node *node, struct watch_stream *stream)
{
    (void)node;
    watch_stream_close(stream);
}
