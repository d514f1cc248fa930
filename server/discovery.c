#include "server/discovery.h"

#include "api/message.h"
#include "base/text.h"
#include "client/blocking.h"
#include "cluster/url.h"
#include "net/address.h"
#include "net/loop.h"
#include "net/srv.h"

#include <netdb.h>
#include <stdlib.h>
#include <time.h>

#include "rpc.pb-c.h"

#define REGISTRY      "/_etcd/registry/"
#define FIRST_PAUSE   LOOP_SECOND
#define LONGEST_PAUSE (30 * LOOP_SECOND)
#define LIST_MAX      256

/* ---- the registry's content ---- */

static struct error *check_urls(const char *key, const char *urls)
{
    struct cluster_initial initial = {0};
    struct error *error = cluster_initial_parse(urls, &initial);
    cluster_initial_deinit(&initial);
    return error == NULL ? NULL : error_wrap(error, "discovery: %s is not a member: %s", key, urls);
}

struct error *discovery_registry_add(struct discovery_registry *registry, struct arena *memory,
                                     struct bytes key, struct bytes value, int64_t revision)
{
    const char *own_key = arena_string(memory, key);
    for (size_t i = 0; i < registry->count; i++)
        if (strcmp(registry->members[i].key, own_key) == 0) return NULL;
    if (registry->count == DISCOVERY_MEMBERS_MAX)
        return error_new(ERROR_LIMIT, "discovery: more than %d members have registered",
                         DISCOVERY_MEMBERS_MAX);
    const char *urls = arena_string(memory, value);
    TRY(check_urls(own_key, urls));
    registry->members[registry->count++] = (struct discovery_member){own_key, urls, revision};
    return NULL;
}

static int by_age(const void *left, const void *right)
{
    const struct discovery_member *a = left, *b = right;
    return a->revision < b->revision ? -1 : a->revision > b->revision;
}

static void sort(struct discovery_registry *registry)
{
    qsort(registry->members, registry->count, sizeof(registry->members[0]), by_age);
}

bool discovery_registry_is_full(struct discovery_registry *registry, size_t size, const char *own_key)
{
    sort(registry);
    for (size_t i = 0; i < registry->count; i++) {
        if (strcmp(registry->members[i].key, own_key) == 0) return false;
        if (i + 1 >= size) return true;
    }
    return false;
}

const char *discovery_registry_cluster(struct discovery_registry *registry, size_t size, struct arena *memory)
{
    struct buf text = {0};
    sort(registry);
    for (size_t i = 0; i < registry->count && i < size; i++)
        buf_printf(&text, "%s%s", i == 0 ? "" : ",", registry->members[i].urls);
    const char *cluster = arena_string(memory, buf_bytes(&text));
    buf_deinit(&text);
    return cluster;
}

/* ---- talking to it ---- */

struct seeker {
    const struct options *options;
    const struct logger *logger;
    struct arena *memory;
    struct blocking_client *client;
    const char *prefix; /* of the members' keys */
    const char *own_key;
    struct discovery_registry *registry;
    size_t size;
    int64_t revision; /* of the registry as it was read */
    int64_t pause;    /* before the next try */
};

static struct error *failed(const char *what, struct client_error *error)
{
    struct buf text = {0};
    client_error_format(&text, error);
    struct error *made = error_new(ERROR_UNAVAILABLE, "discovery: %s: %s", what, buf_string(&text));
    buf_deinit(&text);
    client_error_free(error);
    return made;
}

static struct client_call_options call_options(const struct seeker *seeker)
{
    return (struct client_call_options){
        .deadline = client_deadline_after(seeker->options->discovery_request_timeout)};
}

/* Errors of this kind may pass. */
static struct error *range(struct seeker *seeker, const char *key, bool all,
                           Etcdserverpb__RangeResponse **response)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct client_call_options options = call_options(seeker);
    char *end = arena_string(seeker->memory, bytes_from_string(key));
    if (all) end[strlen(end) - 1]++; /* '/' is not the last byte */
    request.key = (ProtobufCBinaryData){strlen(key), (uint8_t *)(uintptr_t)key};
    if (all) request.range_end = (ProtobufCBinaryData){strlen(end), (uint8_t *)end};
    struct client_error *error =
        blocking_call_into(seeker->client, CLIENT_RANGE, &request.base, &options, seeker->memory, response);
    return error == NULL ? NULL : failed(all ? "reading the members" : "reading the size", error);
}

static struct error *read_size(struct seeker *seeker)
{
    Etcdserverpb__RangeResponse *response = NULL;
    uint64_t size = 0;
    const char *key =
        arena_printf(seeker->memory, REGISTRY "%s/_config/size", seeker->options->discovery_token);
    TRY(range(seeker, key, false, &response));
    if (response->n_kvs == 0) return error_new(ERROR_NOT_FOUND, "discovery: size key not found");
    const char *text = arena_string(seeker->memory, message_bytes(response->kvs[0]->value));
    if (!text_parse_uint64(text, 10, &size, NULL) || size == 0 || size > DISCOVERY_MEMBERS_MAX)
        return error_new(ERROR_INVALID, "discovery: size key is bad");
    seeker->size = (size_t)size;
    return NULL;
}

static struct error *read_members(struct seeker *seeker)
{
    Etcdserverpb__RangeResponse *response = NULL;
    TRY(range(seeker, seeker->prefix, true, &response));
    seeker->registry->count = 0;
    seeker->revision = response->header == NULL ? 0 : response->header->revision;
    for (size_t i = 0; i < response->n_kvs; i++)
        TRY(discovery_registry_add(seeker->registry, seeker->memory, message_bytes(response->kvs[i]->key),
                                   message_bytes(response->kvs[i]->value),
                                   response->kvs[i]->create_revision));
    if (discovery_registry_is_full(seeker->registry, seeker->size, seeker->own_key))
        return error_new(ERROR_INVALID, "discovery: cluster is full");
    return NULL;
}

/* Until it is read; what is wrong with it is an error. */
static struct error *read_registry(struct seeker *seeker)
{
    for (;;) {
        struct error *error = read_size(seeker);
        if (error == NULL) error = read_members(seeker);
        if (!error_is(error, ERROR_UNAVAILABLE)) return error;
        log_warn(seeker->logger, "error connecting to discovery service", LOG_STRING("error", error->text),
                 LOG_DURATION("backoff", seeker->pause));
        error_free(error);
        const struct timespec pause = {.tv_sec = (time_t)(seeker->pause / LOOP_SECOND)};
        nanosleep(&pause, NULL);
        seeker->pause = seeker->pause * 2 > LONGEST_PAUSE ? LONGEST_PAUSE : seeker->pause * 2;
    }
}

static struct error *register_self(struct seeker *seeker, const char *urls)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct client_call_options options = call_options(seeker);
    Etcdserverpb__PutResponse *response = NULL;
    request.key = (ProtobufCBinaryData){strlen(seeker->own_key), (uint8_t *)(uintptr_t)seeker->own_key};
    request.value = (ProtobufCBinaryData){strlen(urls), (uint8_t *)(uintptr_t)urls};
    log_info(seeker->logger, "registering member self to the discovery service",
             LOG_STRING("key", seeker->own_key), LOG_STRING("member", urls));
    struct client_error *error =
        blocking_call_into(seeker->client, CLIENT_PUT, &request.base, &options, seeker->memory, &response);
    return error == NULL ? NULL : failed("registering this member", error);
}

static struct error *take_events(struct seeker *seeker, const struct blocking_event *event)
{
    if (event->kind == CLIENT_EVENT_END)
        return failed("waiting for the others",
                      event->error != NULL ? client_error_copy(event->error) : client_error_canceled());
    const Etcdserverpb__WatchResponse *response = (const void *)event->response;
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__KeyValue *kv = response->events[i]->kv;
        if (response->events[i]->type != MVCCPB__EVENT__EVENT_TYPE__PUT) continue;
        TRY(discovery_registry_add(seeker->registry, seeker->memory, message_bytes(kv->key),
                                   message_bytes(kv->value), kv->create_revision));
        log_info(seeker->logger, "found a member at the discovery service",
                 LOG_BYTES("key", message_bytes(kv->key)), LOG_UINT("found", seeker->registry->count),
                 LOG_UINT("size", seeker->size));
    }
    return NULL;
}

static struct error *wait_for_others(struct seeker *seeker)
{
    char *end = arena_string(seeker->memory, bytes_from_string(seeker->prefix));
    end[strlen(end) - 1]++;
    struct client_watch_options watch = {
        .key = bytes_from_string(seeker->prefix),
        .range_end = bytes_from_string(end),
        .start_revision = seeker->revision + 1,
    };
    struct blocking_inbox *inbox = blocking_inbox_new(seeker->client);
    struct blocking_source *source = blocking_watch(inbox, &watch, NULL);
    struct error *error = NULL;
    (void)source; /* goes with the inbox */
    if (seeker->registry->count < seeker->size)
        log_info(seeker->logger, "waiting for peers from discovery service",
                 LOG_UINT("found", seeker->registry->count), LOG_UINT("size", seeker->size));
    while (error == NULL && seeker->registry->count < seeker->size) {
        struct blocking_event event;
        if (blocking_next(inbox, 0, &event) != BLOCKING_EVENT) continue;
        error = take_events(seeker, &event);
        blocking_event_deinit(&event);
    }
    blocking_inbox_free(inbox);
    return error;
}

static struct error *seek(struct seeker *seeker, const char *own_urls, struct discovery_found *found)
{
    TRY(read_registry(seeker));
    TRY(register_self(seeker, own_urls));
    TRY(read_registry(seeker));
    TRY(wait_for_others(seeker));
    found->initial_cluster = discovery_registry_cluster(seeker->registry, seeker->size, seeker->memory);
    found->token = seeker->options->discovery_token;
    log_info(seeker->logger, "found the whole cluster at the discovery service",
             LOG_STRING("initial-cluster", found->initial_cluster));
    return NULL;
}

static struct error *connect_client(struct seeker *seeker)
{
    const struct options *options = seeker->options;
    const char *endpoints[LIST_MAX];
    size_t count = 0;
    char *rest = arena_string(seeker->memory, bytes_from_string(options->discovery_endpoints));
    for (char *one; count < LIST_MAX && (one = strsep(&rest, ",")) != NULL;)
        if (*one != '\0') endpoints[count++] = one;
    bool has_user = *options->discovery_user != '\0';
    struct client_options client = {
        .endpoints = endpoints,
        .endpoint_count = count,
        .user = has_user ? options->discovery_user : NULL,
        .password = has_user ? options->discovery_password : NULL,
        .dial_timeout = options->discovery_dial_timeout,
        .keep_alive_time = options->discovery_keepalive_time,
        .keep_alive_timeout = options->discovery_keepalive_timeout,
        .logger = seeker->logger,
    };
    if (!options->discovery_insecure_transport)
        client.tls = (struct client_tls_options){
            .enabled = true,
            .insecure_skip_verify = options->discovery_insecure_skip_tls_verify,
            .certificate_file = *options->discovery_cert != '\0' ? options->discovery_cert : NULL,
            .key_file = *options->discovery_key != '\0' ? options->discovery_key : NULL,
            .ca_file = *options->discovery_cacert != '\0' ? options->discovery_cacert : NULL,
        };
    struct client_error *login = NULL;
    struct error *error = blocking_new(&client, &seeker->client, &login);
    if (error != NULL) return error_wrap(error, "discovery");
    return login == NULL ? NULL : failed("logging in", login);
}

/* "name=url,name=url" of this member itself. */
static const char *own_urls(const struct options *options, const struct cluster_urls *urls,
                            struct arena *memory)
{
    struct buf text = {0};
    for (size_t i = 0; i < urls->count; i++)
        buf_printf(&text, "%s%s=%s", i == 0 ? "" : ",", options->name, urls->items[i]);
    const char *own = arena_string(memory, buf_bytes(&text));
    buf_deinit(&text);
    return own;
}

static struct error *ask_service(const struct options *options, cluster_sha1 *sha1,
                                 const struct logger *logger, struct arena *memory,
                                 struct discovery_found *found)
{
    struct cluster_urls urls = {0};
    TRY(cluster_urls_parse(options->initial_advertise_peer_urls, &urls));
    uint64_t id = cluster_member_id(sha1, &urls, options->discovery_token);
    struct seeker seeker = {
        .options = options,
        .logger = logger,
        .memory = memory,
        .prefix = arena_printf(memory, REGISTRY "%s/members/", options->discovery_token),
        .own_key = arena_printf(memory, REGISTRY "%s/members/%llx", options->discovery_token,
                                (unsigned long long)id),
        .registry = arena_alloc(memory, sizeof(*seeker.registry)),
        .pause = FIRST_PAUSE,
    };
    seeker.registry->count = 0;
    const char *own = own_urls(options, &urls, memory);
    cluster_urls_deinit(&urls);
    struct error *error = connect_client(&seeker);
    if (error == NULL) error = seek(&seeker, own, found);
    blocking_free(seeker.client);
    return error;
}

/* ---- the DNS ---- */

/* "127.0.0.1:2380" of a host and port; empty when there is no such host. */
static const char *resolve(struct arena *memory, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    const char *text = "";
    if (getaddrinfo(host, port, &hints, &list) != 0) return text;
    struct sockaddr_storage address = {0};
    memcpy(&address, list->ai_addr, list->ai_addrlen);
    char *printed = address_text(&address, list->ai_addrlen);
    text = arena_string(memory, bytes_from_string(printed));
    free(printed);
    freeaddrinfo(list);
    return text;
}

struct dns_search {
    const struct options *options;
    struct arena *memory;
    struct cluster_urls own;
    struct buf cluster;
    unsigned others;
    bool found_self;
};

static bool is_own(struct dns_search *search, const char *scheme, const char *address, const char **mismatch)
{
    for (size_t i = 0; i < search->own.count; i++) {
        struct cluster_url url;
        struct error *error = cluster_url_parse(bytes_from_string(search->own.items[i]), &url);
        error_free(error); /* it was checked before */
        if (error != NULL) continue;
        const char *own = resolve(search->memory, arena_string(search->memory, url.host),
                                  arena_string(search->memory, url.port));
        if (*own == '\0' || strcmp(own, address) != 0) continue;
        if (!bytes_equal(url.scheme, bytes_from_string(scheme))) *mismatch = search->own.items[i];
        return true;
    }
    return false;
}

static struct error *take_record(struct dns_search *search, const char *scheme,
                                 const struct srv_record *record, const struct logger *logger)
{
    const char *port = arena_printf(search->memory, "%u", record->port), *mismatch = NULL;
    const char *host = arena_string(search->memory, bytes_of(record->target, strlen(record->target) - 1));
    const char *address = resolve(search->memory, host, port);
    if (*address == '\0') {
        log_warn(logger, "failed to resolve a member that the DNS names", LOG_STRING("host", host));
        return NULL;
    }
    bool own = is_own(search, scheme, address, &mismatch);
    if (mismatch != NULL)
        return error_new(ERROR_INVALID,
                         "bootstrap at %s from DNS for %s has scheme mismatch with expected peer %s", address,
                         search->options->discovery_srv, mismatch);
    buf_append_string(&search->cluster, search->cluster.size == 0 ? "" : ",");
    if (own)
        buf_append_string(&search->cluster, search->options->name);
    else
        buf_printf(&search->cluster, "%u", search->others++);
    buf_printf(&search->cluster, "=%s://%s:%s", scheme, host, port);
    search->found_self = search->found_self || own;
    log_info(logger, "got bootstrap from DNS for etcd-server", LOG_STRING("node", host),
             LOG_STRING("address", address));
    return NULL;
}

static struct error *search_service(struct dns_search *search, const char *service, const char *scheme,
                                    const struct logger *logger)
{
    const struct options *options = search->options;
    struct srv_records records;
    const char *dash = *options->discovery_srv_name == '\0' ? "" : "-";
    TRY(srv_lookup(search->memory,
                   arena_printf(search->memory, "_%s%s%s._tcp.%s", service, dash, options->discovery_srv_name,
                                options->discovery_srv),
                   &records));
    for (size_t i = 0; i < records.count; i++) TRY(take_record(search, scheme, &records.items[i], logger));
    return NULL;
}

static struct error *ask_dns(const struct options *options, const struct logger *logger, struct arena *memory,
                             struct discovery_found *found)
{
    struct dns_search search = {.options = options, .memory = memory};
    TRY(cluster_urls_parse(options->initial_advertise_peer_urls, &search.own));
    struct error *secure = search_service(&search, "etcd-server-ssl", "https", logger);
    struct error *plain = search_service(&search, "etcd-server", "http", logger), *error = NULL;
    if (error_is(secure, ERROR_INVALID) || error_is(plain, ERROR_INVALID))
        error = error_new(ERROR_INVALID, "%s", error_is(secure, ERROR_INVALID) ? secure->text : plain->text);
    else if (secure != NULL && plain != NULL)
        error = error_new(ERROR_NOT_FOUND,
                          "error querying DNS SRV records for _etcd-server-ssl and "
                          "_etcd-server: %s; %s",
                          secure->text, plain->text);
    else if (!search.found_self)
        error =
            error_new(ERROR_INVALID, "cannot find local etcd member \"%s\" in SRV records", options->name);
    error_free(secure);
    error_free(plain);
    found->initial_cluster = arena_string(memory, buf_bytes(&search.cluster));
    cluster_urls_deinit(&search.own);
    buf_deinit(&search.cluster);
    return error;
}

struct error *discovery_find(const struct options *options, cluster_sha1 *sha1, const struct logger *logger,
                             struct arena *memory, struct discovery_found *found)
{
    *found = (struct discovery_found){options->initial_cluster, options->initial_cluster_token};
    bool joins = strcmp(options->initial_cluster_state, "existing") == 0;
    if (*options->discovery_endpoints != '\0' && !joins)
        return ask_service(options, sha1, logger, memory, found);
    if (*options->discovery_srv != '\0') return ask_dns(options, logger, memory, found);
    return NULL;
}
