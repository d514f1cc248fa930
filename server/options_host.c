/* The address of this host that others most likely reach it at: where packets to the outside start from. No
 * packet is sent to find it. */
#include "server/options_internal.h"

#include "base/arena.h"
#include "cluster/url.h"

#include <arpa/inet.h>
#include <unistd.h>

#define DEFAULT_PEER_URL   "http://localhost:2380"
#define DEFAULT_CLIENT_URL "http://localhost:2379"

/* A host on the Internet, any. */
#define OUTSIDE "192.0.2.1"

enum { DISCARD_PORT = 9 };

static bool find_host(char text[INET_ADDRSTRLEN])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(DISCARD_PORT)};
    socklen_t size = sizeof(address);
    inet_pton(AF_INET, OUTSIDE, &address.sin_addr);
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return false;
    bool found = connect(descriptor, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                 getsockname(descriptor, (struct sockaddr *)&address, &size) == 0 &&
                 inet_ntop(AF_INET, &address.sin_addr, text, INET_ADDRSTRLEN) != NULL;
    close(descriptor);
    return found;
}

/* "http://HOST:PORT" with the port of the first address listened on, when that is every address; else NULL.
 */
static const char *advertise(struct arena *memory, const char *listened, const char *host)
{
    struct cluster_url url;
    struct error *error = cluster_url_parse(bytes_of(listened, strcspn(listened, ",")), &url);
    error_free(error); /* it was read before */
    if (error != NULL || !bytes_equal(url.host, BYTES_LITERAL("0.0.0.0"))) return NULL;
    return arena_printf(memory, "http://%s:%.*s", host, (int)url.port.size, (const char *)url.port.data);
}

void options_advertise_default_host(struct options_parsed *parsed)
{
    struct options *options = &parsed->options;
    bool asks_peer = strcmp(options->initial_advertise_peer_urls, DEFAULT_PEER_URL) == 0;
    bool asks_client = strcmp(options->advertise_client_urls, DEFAULT_CLIENT_URL) == 0;
    char host[INET_ADDRSTRLEN];
    if ((!asks_peer && !asks_client) || !find_host(host)) return;
    const char *peer = asks_peer ? advertise(parsed->memory, options->listen_peer_urls, host) : NULL;
    const char *client = asks_client ? advertise(parsed->memory, options->listen_client_urls, host) : NULL;
    if (peer != NULL) options->initial_advertise_peer_urls = peer;
    if (client != NULL) options->advertise_client_urls = client;
    if (peer == NULL && client == NULL) return;
    options_note(parsed,
                 (struct options_note){.level = LOG_INFO,
                                       .message = "detected default host for advertise",
                                       .keys = {"host"},
                                       .values = {arena_string(parsed->memory, bytes_from_string(host))}});
}
