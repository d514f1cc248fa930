#include "client/endpoint.h"

#include "base/memory.h"

#include <stdlib.h>

static const struct scheme {
    const char *prefix; /* longer ones first */
    bool is_unix;
    enum endpoint_tls tls;
} schemes[] = {
    {"http://", false, ENDPOINT_TLS_NEVER},        {"https://", false, ENDPOINT_TLS_ALWAYS},
    {"unix://", true, ENDPOINT_TLS_IF_CONFIGURED}, {"unix:", true, ENDPOINT_TLS_IF_CONFIGURED},
    {"unixs://", true, ENDPOINT_TLS_ALWAYS},       {"unixs:", true, ENDPOINT_TLS_ALWAYS},
};

static struct bytes trim(struct bytes text)
{
    static const char blanks[] = " \t\n\v\f\r";
    while (text.size > 0 && memchr(blanks, text.data[0], sizeof(blanks) - 1) != NULL)
        text = bytes_of(text.data + 1, text.size - 1);
    while (text.size > 0 && memchr(blanks, text.data[text.size - 1], sizeof(blanks) - 1) != NULL) text.size--;
    return text;
}

/* What comes before the first of `stops`. */
static struct bytes up_to(struct bytes text, const char *stops)
{
    size_t size = 0;
    while (size < text.size && strchr(stops, text.data[size]) == NULL) size++;
    return bytes_of(text.data, size);
}

static char *string_of(struct bytes text)
{
    return mem_printf("%.*s", (int)text.size, (const char *)text.data);
}

/* "host" of "host:port" and "[v6]:port". */
static struct bytes host_of(struct bytes address)
{
    if (address.size > 0 && address.data[0] == '[')
        return up_to(bytes_of(address.data + 1, address.size - 1), "]");
    return up_to(address, ":");
}

static struct bytes last_element(struct bytes path)
{
    size_t at = path.size;
    while (at > 0 && path.data[at - 1] != '/') at--;
    return bytes_of(path.data + at, path.size - at);
}

bool endpoint_parse(const char *text, struct endpoint *endpoint)
{
    struct bytes whole = trim(bytes_from_string(text));
    if (whole.size == 0) return false;
    struct bytes rest = whole;
    struct scheme found = {"", false, ENDPOINT_TLS_IF_CONFIGURED};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        struct bytes prefix = bytes_from_string(schemes[i].prefix);
        if (!bytes_starts_with(whole, prefix)) continue;
        found = schemes[i];
        rest = bytes_of(whole.data + prefix.size, whole.size - prefix.size);
        break;
    }
    if (!found.is_unix && found.tls != ENDPOINT_TLS_IF_CONFIGURED) rest = up_to(rest, "/?#");
    *endpoint = (struct endpoint){.text = string_of(whole), .tls = found.tls};
    endpoint->address =
        found.is_unix ? mem_printf("unix:%.*s", (int)rest.size, (const char *)rest.data) : string_of(rest);
    endpoint->server_name = string_of(found.is_unix ? last_element(rest) : host_of(rest));
    return true;
}

void endpoint_deinit(struct endpoint *endpoint)
{
    free(endpoint->text);
    free(endpoint->address);
    free(endpoint->server_name);
    *endpoint = (struct endpoint){0};
}
