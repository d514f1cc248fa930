/* The prober asks each member every few seconds which version it runs (the leader settles the cluster's
 * version by that) and how long a round trip takes and what time it is there. */
#include "server/peer_internal.h"

#include "api/version.h"
#include "base/container.h"
#include "cluster/json_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PROBE_INTERVAL (4 * LOOP_SECOND)
#define FIRST_INTERVAL (LOOP_SECOND / 4) /* while the member's version is not known */
#define PROBE_TIMEOUT  (3 * LOOP_SECOND)
#define DRIFT_MAX      LOOP_SECOND

enum { ANSWER_MAX = 4096 };

static void ask(struct peer_prober *prober, const char *target, const struct http1_client_handler *handler);

/* ---- ends of a round ---- */

static void next_round(struct peer_prober *prober)
{
    bool known = prober->version[0] != '\0';
    loop_timer_set(prober->peer->peers->config.loop, &prober->next,
                   clock_monotonic() + (known ? PROBE_INTERVAL : FIRST_INTERVAL));
}

static void set_version(struct peer_prober *prober, const char *version)
{
    if (strcmp(prober->version, version) == 0) return;
    snprintf(prober->version, sizeof(prober->version), "%s", version);
    peer_report_version(prober->peer, version[0] == '\0' ? NULL : version);
}

static void round_failed(struct peer_prober *prober, const char *why)
{
    if (!prober->unhealthy)
        log_warn(prober->peer->peers->logger, "prober detected unhealthy status",
                 LOG_STRING("remote-peer-id", prober->peer->id_text), LOG_DURATION("rtt", prober->smoothed),
                 LOG_STRING("error", why));
    prober->unhealthy = true;
    prober->url++;
    set_version(prober, "");
    http1_client_free(prober->client);
    prober->client = NULL;
    next_round(prober);
}

/* ---- answers ---- */

/* The common part: false when the round is over. */
static bool was_answered(struct http1_client_request *request, const struct error *error)
{
    struct peer_prober *prober = http1_client_request_context(request);
    int status = http1_client_request_status(request);
    prober->request = NULL;
    if (prober->peer->closing) return false;
    if (error == NULL && status == 200) return true;
    char why[40];
    snprintf(why, sizeof(why), "answered with status %d", status);
    round_failed(prober, error != NULL ? error->text : why);
    return false;
}

/* Go's RFC 3339 with fractions: nanoseconds since 1970. */
static bool parse_time(const char *text, int64_t *at)
{
    struct tm parts = {0};
    int offset_hours = 0, offset_minutes = 0, used = 0;
    char sign = '+';
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &parts.tm_year, &parts.tm_mon, &parts.tm_mday,
               &parts.tm_hour, &parts.tm_min, &parts.tm_sec, &used) != 6)
        return false;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    text += used;
    int64_t fraction = 0, unit = LOOP_SECOND / 10;
    if (*text == '.')
        for (text++; *text >= '0' && *text <= '9'; text++, unit /= 10) fraction += (*text - '0') * unit;
    if (*text != 'Z' && sscanf(text, "%c%2d:%2d", &sign, &offset_hours, &offset_minutes) != 3) return false;
    int64_t offset = (int64_t)(offset_hours * 3600 + offset_minutes * 60) * (sign == '-' ? -1 : 1);
    *at = ((int64_t)timegm(&parts) - offset) * LOOP_SECOND + fraction;
    return true;
}

static bool parse_health(struct bytes body, bool *ok, int64_t *at)
{
    struct json_reader reader = json_reader_of(body);
    struct buf key = {0}, now = {0};
    if (json_enter(&reader, '{'))
        while (json_next_key(&reader, &key)) {
            if (bytes_equal(buf_bytes(&key), BYTES_LITERAL("OK")))
                json_read_bool(&reader, ok);
            else if (bytes_equal(buf_bytes(&key), BYTES_LITERAL("Now")))
                json_read_string(&reader, &now);
            else
                json_skip(&reader);
        }
    bool valid = !reader.failed && parse_time(buf_string(&now), at);
    buf_deinit(&key);
    buf_deinit(&now);
    return valid;
}

static void probing_done(struct http1_client_request *request, const struct error *error)
{
    struct peer_prober *prober = http1_client_request_context(request);
    struct peer *peer = prober->peer;
    bool ok = false;
    int64_t there = 0;
    if (!was_answered(request, error)) return;
    if (!parse_health(http1_client_request_body(request), &ok, &there) || !ok) {
        round_failed(prober, "the answer cannot be understood");
        return;
    }
    int64_t trip = clock_monotonic() - prober->asked_at;
    prober->smoothed = prober->smoothed == 0 ? trip : prober->smoothed / 8 * 7 + trip / 8;
    metric_observe(&peer->metrics->round_trip, (uint64_t)trip);
    int64_t drift = clock_wall() - there - prober->smoothed / 2;
    bool drifts = drift > DRIFT_MAX;
    if (drifts && !prober->told_drift)
        log_warn(peer->peers->logger, "prober found high clock drift",
                 LOG_STRING("remote-peer-id", peer->id_text), LOG_DURATION("clock-drift", drift),
                 LOG_DURATION("rtt", prober->smoothed));
    prober->told_drift = drifts;
    prober->unhealthy = false;
    next_round(prober);
}

static const struct http1_client_handler probing_handler = {.on_done = probing_done};

bool peer_parse_versions(struct bytes body, struct buf *server, struct buf *cluster)
{
    struct json_reader reader = json_reader_of(body);
    struct buf key = {0};
    struct version parsed;
    if (json_enter(&reader, '{'))
        while (json_next_key(&reader, &key)) {
            if (bytes_equal(buf_bytes(&key), BYTES_LITERAL("etcdserver")))
                json_read_string(&reader, server);
            else if (bytes_equal(buf_bytes(&key), BYTES_LITERAL("etcdcluster")))
                json_read_string(&reader, cluster);
            else
                json_skip(&reader);
        }
    buf_deinit(&key);
    return !reader.failed && server->size < PEER_VERSION_SIZE && version_parse(buf_bytes(server), &parsed);
}

static void version_done(struct http1_client_request *request, const struct error *error)
{
    struct peer_prober *prober = http1_client_request_context(request);
    struct buf version = {0}, cluster = {0};
    if (!was_answered(request, error)) return;
    if (peer_parse_versions(http1_client_request_body(request), &version, &cluster)) {
        set_version(prober, buf_string(&version));
        ask(prober, "/raft/probing", &probing_handler);
    } else {
        round_failed(prober, "its version cannot be understood");
    }
    buf_deinit(&version);
    buf_deinit(&cluster);
}

static const struct http1_client_handler version_handler = {.on_done = version_done};

/* ---- questions ---- */

static void ask(struct peer_prober *prober, const char *target, const struct http1_client_handler *handler)
{
    prober->asked_at = clock_monotonic();
    struct http1_client_options options = {
        .method = "GET",
        .target = target,
        .deadline = prober->asked_at + PROBE_TIMEOUT,
        .gather_limit = ANSWER_MAX,
        .handler = handler,
        .context = prober,
    };
    prober->request = http1_client_request(prober->client, &options);
}

static void on_next(struct loop *loop, struct loop_timer *timer)
{
    struct peer_prober *prober = CONTAINER(timer, struct peer_prober, next);
    (void)loop;
    if (prober->client == NULL) prober->client = peer_client(prober->peer, prober->url);
    if (prober->client == NULL)
        round_failed(prober, "the address cannot be used");
    else
        ask(prober, "/version", &version_handler);
}

void peer_prober_init(struct peer *peer)
{
    peer->prober = (struct peer_prober){.peer = peer};
    peer->prober.next.run = on_next;
}

void peer_prober_start(struct peer *peer)
{
    loop_timer_set(peer->peers->config.loop, &peer->prober.next, clock_monotonic());
}

void peer_prober_stop(struct peer *peer)
{
    loop_timer_clear(peer->peers->config.loop, &peer->prober.next);
    http1_client_free(peer->prober.client);
}
