#include "net/address.h"

#include "base/memory.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

char *address_text(const struct sockaddr_storage *address, socklen_t size)
{
    char text[INET6_ADDRSTRLEN];
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
        return mem_printf("%s:%u", text, ntohs(v4->sin_port));
    }
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text, sizeof(text));
            return mem_printf("%s:%u", text, ntohs(v6->sin6_port));
        }
        inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
        return mem_printf("[%s]:%u", text, ntohs(v6->sin6_port));
    }
    const struct sockaddr_un *local = (const struct sockaddr_un *)address;
    size_t used = (size_t)size <= offsetof(struct sockaddr_un, sun_path)
                      ? 0
                      : size - offsetof(struct sockaddr_un, sun_path);
    if (used == 0 || local->sun_path[0] == 0) return mem_strdup("@");
    return mem_printf("%.*s", (int)strnlen(local->sun_path, used), local->sun_path);
}

const char *address_unix_path(const char *address)
{
    static const char *const schemes[] = {"unix://", "unixs://", "unix:", "unixs:"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t size = strlen(schemes[i]);
        if (strncmp(address, schemes[i], size) == 0) return address + size;
    }
    return NULL;
}

struct error *address_split(const char *address, char **host, char **port)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL) return error_new(ERROR_INVALID, "address %s: missing port in address", address);
    const char *begin = address, *end = colon;
    if (*begin == '[') {
        if (end[-1] != ']') return error_new(ERROR_INVALID, "address %s: missing ']' in address", address);
        begin++;
        end--;
    } else if (memchr(begin, ':', (size_t)(end - begin)) != NULL) {
        return error_new(ERROR_INVALID, "address %s: too many colons in address", address);
    }
    *host = mem_printf("%.*s", (int)(end - begin), begin);
    *port = mem_strdup(colon + 1);
    return NULL;
}

static bool parse_port(const char *text, in_port_t *port)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end != 0 || value > 65535 || !isdigit((unsigned char)*text)) return false;
    *port = htons((uint16_t)value);
    return true;
}

bool address_numeric(const char *host, const char *port, struct sockaddr_storage *out, socklen_t *size)
{
    in_port_t number;
    if (!parse_port(port, &number)) return false;
    memset(out, 0, sizeof(*out));
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = number;
        *size = sizeof(*v4);
        return true;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    const char *zone = strchr(host, '%');
    char bare[INET6_ADDRSTRLEN];
    size_t length = zone == NULL ? strlen(host) : (size_t)(zone - host);
    if (length >= sizeof(bare)) return false;
    memcpy(bare, host, length);
    bare[length] = 0;
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET6, bare, &v6->sin6_addr) != 1) return false;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = number;
    if (zone != NULL) v6->sin6_scope_id = if_nametoindex(zone + 1);
    *size = sizeof(*v6);
    return true;
}

struct error *address_unix(const char *path, struct sockaddr_storage *out, socklen_t *size)
{
    struct sockaddr_un *local = (struct sockaddr_un *)out;
    memset(out, 0, sizeof(*out));
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof(local->sun_path)) {
        return error_new(ERROR_INVALID, "unix socket path \"%s\" must have 1 to %zu bytes", path,
                         sizeof(local->sun_path) - 1);
    }
    local->sun_family = AF_UNIX;
    memcpy(local->sun_path, path, length);
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    return NULL;
}

const char *address_error_text(int system, char *out, size_t size)
{
    char reason[128];
    snprintf(out, size, "%s", strerror_r(system, reason, sizeof(reason)));
    if (isupper((unsigned char)out[0]) && islower((unsigned char)out[1]))
        out[0] = (char)tolower((unsigned char)out[0]);
    return out;
}
