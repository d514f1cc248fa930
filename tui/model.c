#include "tui/model.h"

#include "base/memory.h"
#include "tui/findings.h"
#include "tui/units.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SECOND INT64_C(1000000000)

/* An answer may be shown as new for two intervals and the time that a slow one may take. */
enum { FRESH_SLACK_SECONDS = 2 };

static void set_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text);
}

struct model *model_new(int64_t interval)
{
    struct model *model = mem_zalloc(1, sizeof(*model));
    model->interval = interval;
    model->lease_list.period = MODEL_LEASES_SECONDS * SECOND;
    if (model->lease_list.period < interval) model->lease_list.period = interval;
    model->leases = model->watchers = model->keys = NAN;
    model->put_rate = model->range_rate = model->txn_rate = model->proposal_rate = NAN;
    model->commit = model->range = model->fsync_worst = NAN;
    return model;
}

void model_free(struct model *model)
{
    if (model == NULL) return;
    for (size_t i = 0; i < model->member_count; i++) free(model->members[i]);
    free(model);
}

static void add_event(struct model *model, enum model_severity severity, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add_event(struct model *model, enum model_severity severity, const char *format, ...)
{
    struct model_event *event = &model->events[model->event_next];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(event->text, sizeof(event->text), format, arguments);
    va_end(arguments);
    event->wall = model->wall;
    event->severity = severity;
    model->event_next = (model->event_next + 1) % MODEL_EVENTS_MAX;
    if (model->event_count < MODEL_EVENTS_MAX) model->event_count++;
}

const struct model_event *model_event_at(const struct model *model, size_t age)
{
    assert(age < model->event_count);
    return &model->events[(model->event_next + MODEL_EVENTS_MAX - 1 - age) % MODEL_EVENTS_MAX];
}

/* ---- Rows ---- */

static struct model_member *add_member(struct model *model)
{
    if (model->member_count == MODEL_MEMBERS_MAX) {
        model->endpoints_dropped++;
        return NULL;
    }
    struct model_member *member = mem_zalloc(1, sizeof(*member));
    member->serial = ++model->next_serial;
    member->lag = member->put_rate = member->range_rate = member->delete_rate = member->txn_rate = NAN;
    member->failure_rate = member->proposal_rate = member->cpu = member->event_rate = NAN;
    member->fsync = member->commit = member->range = member->quota_used = NAN;
    model->members[model->member_count++] = member;
    return member;
}

static void remove_member(struct model *model, struct model_member *member)
{
    size_t at = 0;
    while (model->members[at] != member) at++;
    for (; at + 1 < model->member_count; at++) model->members[at] = model->members[at + 1];
    model->member_count--;
    if (model->fsync_worst_member == member) model->fsync_worst_member = NULL;
    free(member);
}

/* "host:port" of an endpoint with or without scheme and path; not terminated. */
static struct bytes address_of(const char *endpoint)
{
    const char *scheme = strstr(endpoint, "://");
    const char *host = scheme == NULL ? endpoint : scheme + 3;
    return bytes_of(host, strcspn(host, "/"));
}

static bool same_endpoint(const char *a, const char *b)
{
    return bytes_equal(address_of(a), address_of(b));
}

void model_add_endpoint(struct model *model, const char *endpoint)
{
    for (size_t i = 0; i < model->member_count; i++)
        if (same_endpoint(model->members[i]->endpoint, endpoint)) return;
    struct model_member *member = add_member(model);
    if (member == NULL) return;
    set_text(member->endpoint, sizeof(member->endpoint), endpoint);
    member->from_user = true;
}

struct model_member *model_member_by_serial(struct model *model, uint64_t serial)
{
    for (size_t i = 0; i < model->member_count; i++)
        if (model->members[i]->serial == serial) return model->members[i];
    return NULL;
}

static struct model_member *find_id(const struct model *model, uint64_t id)
{
    for (size_t i = 0; i < model->member_count; i++)
        if (model->members[i]->has_id && model->members[i]->id == id) return model->members[i];
    return NULL;
}

const struct model_member *model_member_by_id(const struct model *model, uint64_t id)
{
    return find_id(model, id);
}

struct model_label model_member_label(const struct model_member *member)
{
    struct model_label label;
    if (member->name[0] != 0)
        snprintf(label.text, sizeof(label.text), "%s", member->name);
    else if (member->has_id)
        snprintf(label.text, sizeof(label.text), "%" PRIx64, member->id);
    else
        snprintf(label.text, sizeof(label.text), "%.*s", (int)sizeof(label.text) - 1, member->endpoint);
    return label;
}

/* ---- Answers ---- */

static void answered(struct model_fetch *fetch, int64_t now)
{
    fetch->asked = true;
    fetch->good = true;
    fetch->answered = now;
    fetch->why[0] = 0;
}

void model_fail(struct model_fetch *fetch, const char *why)
{
    fetch->asked = true;
    fetch->good = false;
    set_text(fetch->why, sizeof(fetch->why), why);
}

/* `member` has told who it is. When another row stands for the same member, one of the two goes: the one that
 * only the member list made, else the newer. Returns the row that is left. */
static struct model_member *identify(struct model *model, struct model_member *member, uint64_t id)
{
    struct model_member *other = find_id(model, id);
    if (other == member) return member;
    if (other == NULL) {
        /* Another member answers at this address now: nothing known before is its. */
        if (member->has_id) member->name[0] = member->peer_url[0] = 0;
        member->has_id = true;
        member->id = id;
        return member;
    }
    if (other->from_user) {
        remove_member(model, member);
        return other;
    }
    member->has_id = true;
    member->id = id;
    set_text(member->name, sizeof(member->name), other->name);
    set_text(member->peer_url, sizeof(member->peer_url), other->peer_url);
    member->listed = other->listed;
    member->is_learner = other->is_learner;
    remove_member(model, other);
    return member;
}

static void take_errors(struct model_member *member, const Etcdserverpb__StatusResponse *status)
{
    member->error_count = status->n_errors;
    size_t used = 0;
    member->errors[0] = 0;
    member->alarms_told = 0;
    for (size_t i = 0; i < status->n_errors; i++)
        member->alarms_told += strstr(status->errors[i], "alarm:") != NULL;
    for (size_t i = 0; i < status->n_errors && used + 1 < sizeof(member->errors); i++) {
        int wrote = snprintf(member->errors + used, sizeof(member->errors) - used, "%s%s", i > 0 ? "; " : "",
                             status->errors[i]);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
}

void model_apply_status(struct model *model, uint64_t serial, const Etcdserverpb__StatusResponse *status,
                        int64_t round_trip, int64_t now)
{
    struct model_member *member = model_member_by_serial(model, serial);
    if (member == NULL) return;
    if (status->header == NULL) {
        model_fail(&member->status, "an answer without header");
        return;
    }
    member = identify(model, member, status->header->member_id);
    answered(&member->status, now);
    if (!model->has_cluster_id) {
        model->has_cluster_id = true;
        model->cluster_id = status->header->cluster_id;
    }
    set_text(member->version, sizeof(member->version), status->version);
    member->leader = status->leader;
    member->term = status->raftterm;
    member->index = status->raftindex;
    member->applied = status->raftappliedindex;
    member->revision = status->header->revision;
    member->db_size = status->dbsize;
    member->db_in_use = status->dbsizeinuse;
    member->quota = status->dbsizequota;
    member->is_learner = status->islearner;
    member->round_trip = round_trip;
    take_errors(member, status);
}

void model_fail_status(struct model *model, uint64_t serial, const char *why)
{
    struct model_member *member = model_member_by_serial(model, serial);
    if (member != NULL) model_fail(&member->status, why);
}

void model_apply_metrics(struct model *model, uint64_t serial, const struct scrape *scrape)
{
    struct model_member *member = model_member_by_serial(model, serial);
    if (member == NULL) return;
    answered(&member->metrics, scrape->at);
    member->scrapes[member->scrape_next] = *scrape;
    member->scrape_next = (member->scrape_next + 1) % MODEL_WINDOW;
    if (member->scrape_count < MODEL_WINDOW) member->scrape_count++;
}

void model_fail_metrics(struct model *model, uint64_t serial, const char *why)
{
    struct model_member *member = model_member_by_serial(model, serial);
    if (member == NULL) return;
    model_fail(&member->metrics, why);
    /* What comes next must not be compared with what was before the gap. */
    member->scrape_count = 0;
}

/* The row of a listed member: by id, else the row of an endpoint that it names and that has not told its id.
 */
static struct model_member *row_of(struct model *model, const Etcdserverpb__Member *listed)
{
    struct model_member *member = find_id(model, listed->id);
    for (size_t i = 0; member == NULL && i < model->member_count; i++)
        for (size_t k = 0; k < listed->n_clienturls; k++)
            if (!model->members[i]->has_id &&
                same_endpoint(model->members[i]->endpoint, listed->clienturls[k]))
                member = model->members[i];
    return member;
}

/* While an endpoint of the command line has not said who it is, nor failed, it may be any member. */
static bool waits_for_endpoints(const struct model *model)
{
    for (size_t i = 0; i < model->member_count; i++)
        if (model->members[i]->from_user && !model->members[i]->status.asked) return true;
    return false;
}

static void take_listed(struct model *model, const Etcdserverpb__Member *listed, bool is_first_list)
{
    struct model_member *member = row_of(model, listed);
    if (member == NULL) {
        if (waits_for_endpoints(model)) return;
        member = add_member(model);
        if (member == NULL) return;
    }
    bool is_new = !member->listed;
    member->has_id = true;
    member->id = listed->id;
    member->listed = true;
    member->is_learner = listed->islearner;
    set_text(member->name, sizeof(member->name), listed->name);
    if (listed->n_peerurls > 0) set_text(member->peer_url, sizeof(member->peer_url), listed->peerurls[0]);
    if (!member->from_user)
        set_text(member->endpoint, sizeof(member->endpoint),
                 listed->n_clienturls > 0 ? listed->clienturls[0] : "");
    if (is_new && !is_first_list)
        add_event(model, MODEL_NOTE, "member %s joined", model_member_label(member).text);
}

static bool is_listed(const Etcdserverpb__MemberListResponse *list, uint64_t id)
{
    for (size_t i = 0; i < list->n_members; i++)
        if (list->members[i]->id == id) return true;
    return false;
}

void model_apply_members(struct model *model, const Etcdserverpb__MemberListResponse *list, int64_t now,
                         int64_t wall)
{
    bool is_first = model->member_list.answered == 0;
    model->wall = wall;
    if (waits_for_endpoints(model))
        is_first = true;
    else
        answered(&model->member_list, now);
    for (size_t i = 0; i < list->n_members; i++) take_listed(model, list->members[i], is_first);
    for (size_t i = model->member_count; i-- > 0;) {
        struct model_member *member = model->members[i];
        if (!member->has_id || !member->listed || is_listed(list, member->id)) continue;
        add_event(model, MODEL_WARNING, "member %s left", model_member_label(member).text);
        if (member->from_user)
            member->listed = false;
        else
            remove_member(model, member);
    }
}

static const char *alarm_name(int kind)
{
    return kind == ETCDSERVERPB__ALARM_TYPE__NOSPACE   ? "NOSPACE"
           : kind == ETCDSERVERPB__ALARM_TYPE__CORRUPT ? "CORRUPT"
                                                       : "alarm";
}

static bool has_alarm(const struct model_alarm *alarms, size_t count, struct model_alarm wanted)
{
    for (size_t i = 0; i < count; i++)
        if (alarms[i].member == wanted.member && alarms[i].kind == wanted.kind) return true;
    return false;
}

static void tell_alarm(struct model *model, struct model_alarm alarm, bool raised)
{
    const struct model_member *member = find_id(model, alarm.member);
    add_event(model, raised ? MODEL_ALERT : MODEL_NOTE, "%s %s alarm %s",
              member == NULL ? "a member" : model_member_label(member).text, alarm_name(alarm.kind),
              raised ? "raised" : "cleared");
}

void model_apply_alarms(struct model *model, const Etcdserverpb__AlarmResponse *response, int64_t now)
{
    struct model_alarm before[MODEL_MEMBERS_MAX * 2];
    size_t before_count = model->alarm_count;
    memcpy(before, model->alarms, sizeof(before));
    answered(&model->alarm_list, now);
    model->alarm_count = 0;
    for (size_t i = 0; i < response->n_alarms && model->alarm_count < MODEL_MEMBERS_MAX * 2; i++)
        model->alarms[model->alarm_count++] = (struct model_alarm){.member = response->alarms[i]->memberid,
                                                                   .kind = (int)response->alarms[i]->alarm};
    for (size_t i = 0; i < model->alarm_count; i++)
        if (!has_alarm(before, before_count, model->alarms[i])) tell_alarm(model, model->alarms[i], true);
    for (size_t i = 0; i < before_count; i++)
        if (!has_alarm(model->alarms, model->alarm_count, before[i])) tell_alarm(model, before[i], false);
}

bool model_alarms_changed(const struct model *model)
{
    for (size_t i = 0; i < model->member_count; i++) {
        const struct model_member *member = model->members[i];
        if (member->status.good && member->alarms_told != model->alarm_count) return true;
    }
    return false;
}

void model_apply_leases(struct model *model, const Etcdserverpb__LeaseLeasesResponse *list, int64_t now)
{
    answered(&model->lease_list, now);
    model->leases = (double)list->n_leases;
    model->lease_id_count = list->n_leases < MODEL_LEASE_IDS_MAX ? list->n_leases : MODEL_LEASE_IDS_MAX;
    for (size_t i = 0; i < model->lease_id_count; i++) model->lease_ids[i] = list->leases[i]->id;
}

/* ---- What follows ---- */

bool model_is_fresh(const struct model *model, const struct model_fetch *fetch)
{
    int64_t period = fetch->period > 0 ? fetch->period : model->interval;
    return fetch->good && model->now - fetch->answered <= 2 * period + FRESH_SLACK_SECONDS * SECOND;
}

int64_t model_age(const struct model *model, const struct model_fetch *fetch)
{
    if (fetch->answered == 0) return -1;
    return model->now > fetch->answered ? model->now - fetch->answered : 0;
}

const char *model_health_name(enum model_health health)
{
    static const char *const names[] = {"UNKNOWN", "HEALTHY", "DEGRADED", "CRITICAL"};
    return names[health];
}

const struct scrape *model_scrape(const struct model_member *member, size_t age)
{
    return &member->scrapes[(member->scrape_next + MODEL_WINDOW - 1 - age) % MODEL_WINDOW];
}

static void derive_metrics(struct model *model, struct model_member *member)
{
    member->put_rate = member->range_rate = member->delete_rate = member->txn_rate = NAN;
    member->failure_rate = member->proposal_rate = member->cpu = member->event_rate = NAN;
    member->fsync = member->commit = member->range = NAN;
    member->has_metrics = member->scrape_count > 0 && model_is_fresh(model, &member->metrics);
    if (!member->has_metrics) return;
    const struct scrape *now = model_scrape(member, 0);
    if (member->scrape_count < 2) return;
    const struct scrape *last = model_scrape(member, 1),
                        *first = model_scrape(member, member->scrape_count - 1);
    int64_t span = now->at - last->at;
    member->put_rate = scrape_rate(last->puts, now->puts, span);
    member->range_rate = scrape_rate(last->ranges, now->ranges, span);
    member->delete_rate = scrape_rate(last->deletes, now->deletes, span);
    member->txn_rate = scrape_rate(last->txns, now->txns, span);
    member->failure_rate = scrape_rate(last->rpc_failures, now->rpc_failures, span);
    member->event_rate = scrape_rate(last->watch_events, now->watch_events, span);
    member->proposal_rate = scrape_rate(last->proposals_committed, now->proposals_committed, span);
    member->cpu = scrape_rate(last->cpu, now->cpu, span);
    member->fsync = histogram_quantile(&first->fsync, &now->fsync, 0.99);
    member->commit = histogram_quantile(&first->commit, &now->commit, 0.99);
    member->range = histogram_quantile(&first->range, &now->range, 0.99);
}

static void tell_changes(struct model *model, struct model_member *member)
{
    const char *label = model_member_label(member).text;
    if (member->was_up && !member->is_up) {
        add_event(model, MODEL_ALERT, "%s does not answer", label);
        member->down_since = model->wall;
    }
    if (!member->was_up && member->is_up && member->down_since != 0) {
        add_event(model, MODEL_NOTE, "%s answers again, after %s", label,
                  units_age(model->wall - member->down_since).text);
        member->down_since = 0;
    }
    member->was_up = member->is_up;
    /* Around the threshold one event is enough. */
    double threshold = member->was_slow ? FINDINGS_FSYNC_SLOW * 0.8 : FINDINGS_FSYNC_SLOW;
    bool is_slow = member->fsync > threshold;
    if (isnan(member->fsync)) return;
    if (is_slow && !member->was_slow)
        add_event(model, MODEL_WARNING, "%s WAL fsync p99 crossed %s", label,
                  units_seconds(FINDINGS_FSYNC_SLOW).text);
    member->was_slow = is_slow;
}

static void derive_member(struct model *model, struct model_member *member)
{
    member->is_fresh = model_is_fresh(model, &member->status);
    member->is_up = member->is_fresh;
    derive_metrics(model, member);
    double quota = (double)member->quota;
    if (quota <= 0 && member->has_metrics) quota = model_scrape(member, 0)->quota;
    member->quota_used = member->is_fresh && quota > 0 ? (double)member->db_size / quota : NAN;
    ring_push(&member->fsync_history, member->fsync);
    ring_push(&member->commit_history, member->commit);
    ring_push(&member->round_trip_history, member->is_fresh ? (double)member->round_trip / 1e9 : NAN);
    tell_changes(model, member);
}

/* The leader that the members of the highest term name. */
static void derive_leader(struct model *model)
{
    uint64_t term = 0, leader = 0;
    for (size_t i = 0; i < model->member_count; i++) {
        const struct model_member *member = model->members[i];
        if (!member->is_fresh || member->term < term) continue;
        if (member->term > term) leader = 0;
        term = member->term;
        if (member->leader != 0) leader = member->leader;
    }
    if (term > model->term) model->term = term;
    uint64_t before = model->leader;
    if (leader == before) return;
    const struct model_member *new = find_id(model, leader), *old = find_id(model, before);
    struct model_label new_label = {"?"}, old_label = {"none"};
    if (new != NULL) new_label = model_member_label(new);
    if (old != NULL) old_label = model_member_label(old);
    model->leader = leader;
    if (leader == 0) {
        model->leaderless_since = model->wall;
        add_event(model, MODEL_ALERT, "leader %s lost", old_label.text);
        return;
    }
    bool is_first = model->leader_since == 0 && model->leaderless_since == 0;
    model->leader_since = model->wall;
    model->leader_since_is_known = !is_first;
    if (!is_first)
        add_event(model, MODEL_WARNING, "leader %s (term %" PRIu64 "), before %s", new_label.text, term,
                  old_label.text);
    model->leaderless_since = 0;
}

static void add_known(double *sum, double value)
{
    if (isnan(value)) return;
    *sum = isnan(*sum) ? value : *sum + value;
}

static void derive_sums(struct model *model)
{
    model->put_rate = model->range_rate = model->txn_rate = model->watchers = NAN;
    model->proposal_rate = model->commit = model->range = model->fsync_worst = model->keys = NAN;
    model->fsync_worst_member = NULL;
    for (size_t i = 0; i < model->member_count; i++) {
        struct model_member *member = model->members[i];
        if (!member->has_metrics) continue;
        const struct scrape *scrape = model_scrape(member, 0);
        add_known(&model->put_rate, member->put_rate);
        add_known(&model->range_rate, member->range_rate);
        add_known(&model->txn_rate, member->txn_rate);
        add_known(&model->watchers, scrape->watchers);
        model->keys = fmax(model->keys, scrape->keys);
        model->proposal_rate = fmax(model->proposal_rate, member->proposal_rate);
        model->commit = fmax(model->commit, member->commit);
        model->range = fmax(model->range, member->range);
        if (isnan(member->fsync) || member->fsync <= model->fsync_worst) continue;
        model->fsync_worst = member->fsync;
        model->fsync_worst_member = member;
    }
    ring_push(&model->put_history, model->put_rate);
    ring_push(&model->range_rate_history, model->range_rate);
    ring_push(&model->proposal_history, model->proposal_rate);
    ring_push(&model->commit_history, model->commit);
    ring_push(&model->range_history, model->range);
    ring_push(&model->fsync_history, model->fsync_worst);
}

static void derive_health(struct model *model)
{
    model->voters = model->voters_up = model->members_up = 0;
    bool has_answer = false, all_asked = true;
    for (size_t i = 0; i < model->member_count; i++) {
        const struct model_member *member = model->members[i];
        has_answer |= member->is_up;
        all_asked &= member->status.asked || member->endpoint[0] == 0;
        if (member->is_up) model->members_up++;
        /* An address that has not said who it is is no member, once the members are known. */
        if (member->is_learner || (!member->has_id && model->member_list.answered != 0)) continue;
        model->voters++;
        if (member->is_up) model->voters_up++;
    }
    if (!has_answer && !all_asked)
        model->health = MODEL_UNKNOWN;
    else if (model->voters_up < model->voters / 2 + 1 || model->leader == 0)
        model->health = MODEL_CRITICAL;
    else if (model->members_up < model->member_count || model->alarm_count > 0)
        model->health = MODEL_DEGRADED;
    else
        model->health = MODEL_HEALTHY;
}

static void derive_lag(struct model *model)
{
    const struct model_member *leader = find_id(model, model->leader);
    for (size_t i = 0; i < model->member_count; i++) {
        struct model_member *member = model->members[i];
        member->lag = NAN;
        if (!member->is_fresh || leader == NULL || !leader->is_fresh) continue;
        member->lag = leader->index > member->applied ? (double)(leader->index - member->applied) : 0;
    }
}

void model_refresh(struct model *model, int64_t now, int64_t wall)
{
    model->now = now;
    model->wall = wall;
    model->generation++;
    for (size_t i = 0; i < model->member_count; i++) {
        struct model_member *member = model->members[i];
        derive_member(model, member);
        if (member->is_fresh && member->revision > model->revision) model->revision = member->revision;
    }
    derive_leader(model);
    derive_lag(model);
    derive_sums(model);
    derive_health(model);
    findings_evaluate(model);
}
