#include "client/error.h"

#include "base/memory.h"

#include <stdlib.h>

static struct client_error *make(enum grpc_code code, enum api_error known, bool local, char *message)
{
    struct client_error *error = (struct client_error *)mem_alloc(sizeof(*error));
    *error = (struct client_error){.code = code, .known = known, .local = local, .message = message};
    return error;
}

struct client_error *client_error_new(enum grpc_code code, struct bytes message)
{
    char *text = (char *)mem_alloc(message.size + 1);
    if (message.size > 0) memcpy(text, message.data, message.size);
    text[message.size] = 0;
    return make(code, api_error_by_text(message), false, text);
}

struct client_error *client_error_deadline(void)
{
    enum api_error known = API_ERROR_DEADLINE_EXCEEDED;
    return make(GRPC_DEADLINE_EXCEEDED, known, true, mem_strdup(api_error_text(known)));
}

struct client_error *client_error_canceled(void)
{
    enum api_error known = API_ERROR_CONTEXT_CANCELED;
    return make(GRPC_CANCELED, known, true, mem_strdup(api_error_text(known)));
}

struct client_error *client_error_copy(const struct client_error *error)
{
    return error == NULL ? NULL : make(error->code, error->known, error->local, mem_strdup(error->message));
}

void client_error_free(struct client_error *error)
{
    if (error == NULL) return;
    free(error->message);
    free(error);
}

void client_error_format(struct buf *out, const struct client_error *error)
{
    if (error->local || (error->known != API_OK && api_error_is_known_to_clients(error->known))) {
        buf_append_string(out, error->message);
        return;
    }
    const char *name = grpc_code_name(error->code);
    if (name != NULL)
        buf_printf(out, "rpc error: code = %s desc = %s", name, error->message);
    else
        buf_printf(out, "rpc error: code = Code(%d) desc = %s", (int)error->code, error->message);
}
