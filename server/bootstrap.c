#include "server/bootstrap.h"

#include "cluster/json_reader.h"
#include "net/address.h"
#include "server/peer_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

#define NEW_TIMEOUT     LOOP_SECOND        /* for an answer when founding a cluster */
#define RUNNING_TIMEOUT (10 * LOOP_SECOND) /* and when joining one */
#define RESOLVE_TIMEOUT (30 * LOOP_SECOND)
/* Whether a downgrade is on only a cluster with a quorum can tell. One that had a single member has none
 * until this second one runs, and would be without a leader if it waited for long. */
#define DOWNGRADE_TIMEOUT LOOP_SECOND

enum { ANSWER_MAX = 4 << 20 };

/* ---- one GET to each of several addresses ---- */

struct answer {
    struct asking *asking;
    const char *url; /* borrowed */
    struct http1_client *client;
    struct http1_client_request *request; /* NULL: it is over */
    struct buf body;
    char cluster_id[PEER_ID_SIZE];
    char *failure; /* NULL: it was answered with 200 */
};

struct asking {
    struct loop *loop;
    const struct logger *logger;
    struct answer *answers; /* in the order of the addresses */
    size_t count;
};

static void on_response(struct http1_client_request *request, int status, const struct http_header *headers,
                        size_t count)
{
    struct answer *answer = http1_client_request_context(request);
    (void)status;
    for (size_t i = 0; i < count; i++) {
        if (!bytes_equal(headers[i].name, BYTES_LITERAL("x-etcd-cluster-id"))) continue;
        if (headers[i].value.size >= sizeof(answer->cluster_id)) continue;
        memcpy(answer->cluster_id, headers[i].value.data, headers[i].value.size);
    }
}

static void on_done(struct http1_client_request *request, const struct error *error)
{
    struct answer *answer = http1_client_request_context(request);
    int status = http1_client_request_status(request);
    answer->request = NULL;
    buf_append_bytes(&answer->body, http1_client_request_body(request));
    if (error != NULL)
        answer->failure = mem_strdup(error->text);
    else if (status != 200)
        answer->failure = mem_printf("answered with status %d", status);
}

static const struct http1_client_handler handler = {.on_response = on_response, .on_done = on_done};

static void ask(struct answer *answer, const struct transport_security *security, const char *target,
                int64_t deadline)
{
    struct http1_client_options options = {
        .method = "GET",
        .target = target,
        .deadline = deadline,
        .gather_limit = ANSWER_MAX,
        .handler = &handler,
        .context = answer,
    };
    answer->client = peer_client_for(answer->asking->loop, answer->url, security, 0);
    if (answer->client == NULL)
        answer->failure = mem_strdup("the address cannot be used");
    else
        answer->request = http1_client_request(answer->client, &options);
}

static bool is_over(const struct asking *asking)
{
    for (size_t i = 0; i < asking->count; i++)
        if (asking->answers[i].request != NULL) return false;
    return true;
}

static void asking_init(struct asking *asking, const struct bootstrap *bootstrap,
                        const struct cluster_urls *urls)
{
    *asking = (struct asking){.loop = loop_new(), .logger = bootstrap->logger, .count = urls->count};
    asking->answers = mem_zalloc(urls->count + 1, sizeof(asking->answers[0]));
    for (size_t i = 0; i < urls->count; i++)
        asking->answers[i] = (struct answer){.asking = asking, .url = urls->items[i]};
}

static void asking_deinit(struct asking *asking)
{
    for (size_t i = 0; i < asking->count; i++) {
        http1_client_free(asking->answers[i].client);
        buf_deinit(&asking->answers[i].body);
        free(asking->answers[i].failure);
    }
    loop_free(asking->loop);
    free(asking->answers);
}

/* Asks all, until `is_enough` (which looks at one answer that has come) or `timeout`. NULL: none was. */
static const struct answer *ask_all(struct asking *asking, const struct bootstrap *bootstrap,
                                    const char *target, int64_t timeout,
                                    bool (*is_enough)(void *context, const struct answer *answer),
                                    void *context)
{
    int64_t deadline = clock_monotonic() + timeout;
    size_t looked_at = 0;
    bool *seen = mem_zalloc(asking->count + 1, sizeof(*seen));
    const struct answer *enough = NULL;
    for (size_t i = 0; i < asking->count; i++)
        ask(&asking->answers[i], bootstrap->security, target, deadline);
    while (enough == NULL && looked_at < asking->count) {
        if (!is_over(asking)) loop_run_once(asking->loop, LOOP_SECOND / 10);
        for (size_t i = 0; i < asking->count && enough == NULL; i++) {
            const struct answer *answer = &asking->answers[i];
            if (seen[i] || answer->request != NULL) continue;
            seen[i] = true;
            looked_at++;
            if (is_enough(context, answer)) enough = answer;
        }
    }
    free(seen);
    return enough;
}

/* ---- /members ---- */

struct members {
    const struct bootstrap *bootstrap;
    struct cluster_member *items;
    size_t count;
    uint64_t cluster_id;
    bool tells_failures;
};

static void members_free(struct cluster_member *members, size_t count)
{
    for (size_t i = 0; i < count; i++) cluster_member_deinit(&members[i]);
    free(members);
}

static bool is_member_list(void *context, const struct answer *answer)
{
    struct members *members = context;
    struct error *error = NULL;
    const char *failure = answer->failure;
    if (failure == NULL)
        error = cluster_members_parse(buf_bytes(&answer->body), &members->items, &members->count);
    if (error != NULL) failure = error->text;
    if (failure == NULL && !peer_parse_id(bytes_from_string(answer->cluster_id), &members->cluster_id))
        failure = "it tells no cluster id";
    if (failure != NULL && members->items != NULL) {
        members_free(members->items, members->count);
        members->items = NULL;
    }
    if (failure != NULL && members->tells_failures)
        log_warn(members->bootstrap->logger, "failed to get cluster response",
                 LOG_STRING("address", answer->url), LOG_STRING("error", failure));
    error_free(error);
    return failure == NULL;
}

/* All addresses of the configured members but `name`, sorted. */
static void list_others(struct cluster_urls *urls, const struct cluster_initial *initial, const char *name)
{
    for (size_t i = 0; i < initial->count; i++) {
        const struct cluster_initial_member *member = &initial->items[i];
        if (strcmp(member->name, name) == 0) continue;
        for (size_t k = 0; k < member->peer_urls.count; k++)
            cluster_urls_append(urls, bytes_from_string(member->peer_urls.items[k]));
    }
    cluster_urls_sort(urls);
}

static bool ask_for_members(const struct bootstrap *bootstrap, const struct cluster_initial *initial,
                            const char *name, int64_t timeout, struct members *members)
{
    struct cluster_urls urls = {0};
    struct asking asking;
    list_others(&urls, initial, name);
    members->bootstrap = bootstrap;
    asking_init(&asking, bootstrap, &urls);
    bool found = ask_all(&asking, bootstrap, "/members", timeout, is_member_list, members) != NULL;
    asking_deinit(&asking);
    cluster_urls_deinit(&urls);
    return found;
}

struct error *bootstrap_check_new(void *context, const struct cluster_initial *initial, const char *name,
                                  uint64_t id)
{
    struct members members = {0};
    bool has_started = false;
    if (!ask_for_members(context, initial, name, NEW_TIMEOUT, &members)) return NULL;
    for (size_t i = 0; i < members.count; i++)
        if (members.items[i].id == id) has_started = members.items[i].client_urls.count > 0;
    members_free(members.items, members.count);
    return has_started ? error_new(ERROR_EXISTS, "member %" PRIx64 " has already been bootstrapped", id)
                       : NULL;
}

/* ---- versions ---- */

struct versions {
    const struct bootstrap *bootstrap;
    const struct cluster_member *member;
    struct version cluster;
    bool is_decided;
};

static bool is_version(void *context, const struct answer *answer)
{
    struct versions *versions = context;
    struct buf server = {0}, cluster = {0};
    const char *failure = answer->failure;
    if (failure == NULL && !peer_parse_versions(buf_bytes(&answer->body), &server, &cluster))
        failure = "the answer cannot be understood";
    if (failure != NULL) {
        log_warn(versions->bootstrap->logger, "failed to get version of remote member",
                 LOG_HEX("remote-member-id", versions->member->id), LOG_STRING("address", answer->url),
                 LOG_STRING("error", failure));
    } else {
        versions->is_decided = version_parse(buf_bytes(&cluster), &versions->cluster);
        if (!versions->is_decided)
            log_warn(versions->bootstrap->logger, "failed to parse cluster version of remote member",
                     LOG_HEX("remote-member-id", versions->member->id),
                     LOG_STRING("remote-member-cluster-version", buf_string(&cluster)));
    }
    buf_deinit(&server);
    buf_deinit(&cluster);
    return failure == NULL;
}

static bool is_downgrade(void *context, const struct answer *answer)
{
    bool *enabled = context;
    *enabled = bytes_equal(buf_bytes(&answer->body), BYTES_LITERAL("true"));
    return answer->failure == NULL &&
           (*enabled || bytes_equal(buf_bytes(&answer->body), BYTES_LITERAL("false")));
}

static bool is_downgrading(const struct bootstrap *bootstrap, uint64_t own)
{
    struct cluster_urls urls = {0};
    struct asking asking;
    bool enabled = false;
    for (size_t i = 0; i < bootstrap->remote_count; i++) {
        const struct cluster_member *member = &bootstrap->remotes[i];
        for (size_t k = 0; k < member->peer_urls.count && member->id != own; k++)
            cluster_urls_append(&urls, bytes_from_string(member->peer_urls.items[k]));
    }
    asking_init(&asking, bootstrap, &urls);
    bool known =
        ask_all(&asking, bootstrap, "/downgrade/enabled", DOWNGRADE_TIMEOUT, is_downgrade, &enabled) != NULL;
    asking_deinit(&asking);
    cluster_urls_deinit(&urls);
    return known && enabled;
}

/* The lowest and the highest cluster version that this release may join. */
struct allowed {
    struct version lowest, highest;
};

static struct allowed allowed_versions(const struct bootstrap *bootstrap, uint64_t own)
{
    struct version version;
    bool valid = version_parse(bytes_from_string(bootstrap->version), &version);
    assert(valid);
    struct version minor = version_of(version.major, version.minor);
    if (!is_downgrading(bootstrap, own)) return (struct allowed){version_of(3, 0), minor};
    minor.minor++;
    return (struct allowed){minor, minor};
}

/* False: the cluster speaks a version that this member does not. *decided: it has told one. */
static bool fits(const struct bootstrap *bootstrap, const struct cluster_member *member,
                 struct allowed allowed, bool *decided)
{
    struct versions versions = {.bootstrap = bootstrap, .member = member};
    struct asking asking;
    asking_init(&asking, bootstrap, &member->peer_urls);
    (void)ask_all(&asking, bootstrap, "/version", bootstrap->request_timeout, is_version, &versions);
    asking_deinit(&asking);
    if (!versions.is_decided) return true;
    bool is_low = version_compare_minor(versions.cluster, allowed.lowest) < 0;
    bool is_high = version_compare_minor(versions.cluster, allowed.highest) > 0;
    struct buf text = {0}, limit = {0};
    version_format(&text, versions.cluster);
    version_format(&limit, is_low ? allowed.lowest : allowed.highest);
    if (is_low || is_high)
        log_warn(bootstrap->logger,
                 is_low ? "cluster version of remote member is not compatible; too low"
                        : "cluster version of remote member is not compatible; too high",
                 LOG_HEX("remote-member-id", member->id),
                 LOG_STRING("remote-member-cluster-version", buf_string(&text)),
                 LOG_STRING(is_low ? "minimum-cluster-version-supported"
                                   : "maximum-cluster-version-supported",
                            buf_string(&limit)));
    buf_deinit(&text);
    buf_deinit(&limit);
    *decided = true;
    return !is_low && !is_high;
}

static struct error *check_versions(const struct bootstrap *bootstrap, uint64_t own)
{
    struct allowed allowed = allowed_versions(bootstrap, own);
    bool fit = true, decided = false;
    for (size_t i = 0; i < bootstrap->remote_count && fit; i++)
        if (bootstrap->remotes[i].id != own) fit = fits(bootstrap, &bootstrap->remotes[i], allowed, &decided);
    return fit && decided ? NULL : error_new(ERROR_INVALID, "incompatible with current running cluster");
}

static struct error *check_learners(const struct bootstrap *bootstrap)
{
    size_t learners = 0;
    for (size_t i = 0; i < bootstrap->remote_count; i++) learners += bootstrap->remotes[i].is_learner;
    return learners <= bootstrap->max_learners
               ? NULL
               : error_new(ERROR_INVALID, "membership: too many learner members in cluster");
}

/* ---- joining ---- */

static struct error *not_matching(const struct cluster_initial *initial, struct error *error)
{
    struct buf configured = {0};
    cluster_initial_write(&configured, initial);
    error = error_wrap(error, "error validating peerURLs of --initial-cluster=%s", buf_string(&configured));
    buf_deinit(&configured);
    return error;
}

struct error *bootstrap_find_running(void *context, const struct cluster_initial *initial, const char *name,
                                     uint64_t *cluster_id, uint64_t *ids)
{
    struct bootstrap *bootstrap = context;
    struct members members = {.tells_failures = true};
    if (!ask_for_members(bootstrap, initial, name, RUNNING_TIMEOUT, &members))
        return error_new(ERROR_UNAVAILABLE, "cannot fetch cluster info from peer urls: could not retrieve "
                                            "cluster information from the given URLs");
    bootstrap_deinit(bootstrap);
    bootstrap->remotes = members.items;
    bootstrap->remote_count = members.count;
    bootstrap->cluster_id = *cluster_id = members.cluster_id;
    struct error *error =
        cluster_match(initial, members.items, members.count, bootstrap_same_urls, bootstrap, ids);
    if (error != NULL) return not_matching(initial, error);
    uint64_t own = ids[cluster_initial_find(initial, name) - initial->items];
    TRY(check_versions(bootstrap, own));
    return check_learners(bootstrap);
}

void bootstrap_deinit(struct bootstrap *bootstrap)
{
    members_free(bootstrap->remotes, bootstrap->remote_count);
    bootstrap->remotes = NULL;
    bootstrap->remote_count = 0;
}

/* ---- host names ---- */

/* The first address of the name, IPv4 if it has one. NULL: it has none. */
static char *look_up(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_INET}, *found = NULL;
    struct sockaddr_storage address = {0};
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        hints.ai_family = AF_UNSPEC;
        if (getaddrinfo(host, port, &hints, &found) != 0) return NULL;
    }
    socklen_t size = found->ai_addrlen;
    memcpy(&address, found->ai_addr, size);
    freeaddrinfo(found);
    return address_text(&address, size);
}

/* The URL with an address in place of the name; as it is when there is nothing to look up. Tries until
 * `deadline`. */
static char *resolve(const struct bootstrap *bootstrap, const char *url, int64_t deadline)
{
    struct cluster_url parts;
    struct error *error = cluster_url_parse(bytes_from_string(url), &parts);
    bool is_plain = error != NULL || parts.port.size == 0 ||
                    bytes_equal(parts.host, BYTES_LITERAL("localhost")) ||
                    bytes_starts_with(parts.scheme, BYTES_LITERAL("unix"));
    error_free(error);
    if (is_plain) return mem_strdup(url);
    char *host = mem_printf("%.*s", (int)parts.host.size, parts.host.data);
    char *port = mem_printf("%.*s", (int)parts.port.size, parts.port.data);
    char *address, *resolved = NULL;
    while ((address = look_up(host, port)) == NULL && clock_monotonic() < deadline) {
        log_warn(bootstrap->logger, "failed to resolve URL Host", LOG_STRING("url", url),
                 LOG_STRING("host", host), LOG_DURATION("retry-interval", LOOP_SECOND));
        sleep(1);
    }
    if (address != NULL)
        resolved = mem_printf("%.*s://%s", (int)parts.scheme.size, parts.scheme.data, address);
    free(address);
    free(host);
    free(port);
    return resolved;
}

static bool resolve_all(const struct bootstrap *bootstrap, const struct cluster_urls *urls, int64_t deadline,
                        struct cluster_urls *resolved)
{
    for (size_t i = 0; i < urls->count; i++) {
        char *url = resolve(bootstrap, urls->items[i], deadline);
        if (url == NULL) return false;
        cluster_urls_append(resolved, bytes_from_string(url));
        free(url);
    }
    cluster_urls_sort(resolved);
    return true;
}

bool bootstrap_same_urls(void *context, const struct cluster_urls *a, const struct cluster_urls *b)
{
    struct cluster_urls first = {0}, second = {0};
    int64_t deadline = clock_monotonic() + RESOLVE_TIMEOUT;
    bool same = resolve_all(context, a, deadline, &first) && resolve_all(context, b, deadline, &second) &&
                cluster_urls_equal(&first, &second);
    cluster_urls_deinit(&first);
    cluster_urls_deinit(&second);
    return same;
}
