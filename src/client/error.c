#include "client/error.h"

#include "base/memory.h"

#include <stdlib.h>

static struct client_error *make(const struct client_error *content)
{
    return (struct client_error *)mem_dup(content, sizeof(*content));
}

struct client_error *client_error_new(enum grpc_code code, struct bytes message)
{
    char *text = (char *)mem_alloc(message.size + 1);
    if (message.size > 0) memcpy(text, message.data, message.size);
    text[message.size] = 0;
    return make(&(struct client_error){.code = code, .known = api_error_by_text(message), .message = text});
}

/* The text behind `prefix`; NULL when it does not begin so. */
static const char *behind(const char *text, const char *prefix)
{
    size_t size = strlen(prefix);
    return strncmp(text, prefix, size) == 0 ? text + size : NULL;
}

struct client_error *client_error_from_text(const char *text)
{
    struct client_error error = {.code = GRPC_FAILED_PRECONDITION, .bare = true, .message = mem_strdup(text)};
    const char *rest = behind(text, "rpc error: code = ");
    const char *message = text;
    for (unsigned i = GRPC_OK + 1; rest != NULL && i < GRPC_CODES; i++) {
        const char *desc = behind(rest, grpc_code_name((enum grpc_code)i));
        desc = desc == NULL ? NULL : behind(desc, " desc = ");
        if (desc == NULL) continue;
        error.code = (enum grpc_code)i;
        message = desc;
        break;
    }
    error.known = api_error_by_text(bytes_from_string(message));
    return make(&error);
}

static struct client_error *make_local(enum api_error known)
{
    return make(&(struct client_error){.code = api_error_code(known),
                                       .known = known,
                                       .local = true,
                                       .bare = true,
                                       .message = mem_strdup(api_error_text(known))});
}

struct client_error *client_error_deadline(void)
{
    return make_local(API_ERROR_DEADLINE_EXCEEDED);
}

struct client_error *client_error_canceled(void)
{
    return make_local(API_ERROR_CONTEXT_CANCELED);
}

struct client_error *client_error_copy(const struct client_error *error)
{
    if (error == NULL) return NULL;
    struct client_error *copy = make(error);
    copy->message = mem_strdup(error->message);
    return copy;
}

void client_error_free(struct client_error *error)
{
    if (error == NULL) return;
    free(error->message);
    free(error);
}

void client_error_format(struct buf *out, const struct client_error *error)
{
    if (error->bare || (error->known != API_OK && api_error_is_known_to_clients(error->known))) {
        buf_append_string(out, error->message);
        return;
    }
    const char *name = grpc_code_name(error->code);
    if (name != NULL)
        buf_printf(out, "rpc error: code = %s desc = %s", name, error->message);
    else
        buf_printf(out, "rpc error: code = Code(%d) desc = %s", (int)error->code, error->message);
}
