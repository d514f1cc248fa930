#include "tui/findings.h"

#include "tui/units.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FSYNC_VERY_SLOW  0.100 /* seconds: heartbeats are at risk */
#define COMMIT_SLOW      0.025
#define QUOTA_FULL       0.95
#define SHRINKABLE_LEAST 0.30
#define SHRINKABLE_BYTES (16.0 * 1024 * 1024)
#define LAG_HIGH         5000

/* What a rule found, to be put into words. */
struct result {
    enum model_severity severity;
    char text[MODEL_TEXT];
};

/* A rule about the whole cluster (member NULL) or one member. Returns whether it holds. */
typedef bool rule_fn(const struct model *model, const struct model_member *member, struct result *result);

/* Cut to fit: the texts in it are from the network. */
static void say(struct result *result, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct result *result, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(result->text, sizeof(result->text), format, arguments);
    va_end(arguments);
}

static bool no_leader(const struct model *model, const struct model_member *member, struct result *result)
{
    (void)member;
    if (model->members_up == 0 || model->leader != 0) return false;
    result->severity = MODEL_ALERT;
    say(result, "no leader: writes and linearizable reads wait");
    return true;
}

static bool quorum_lost(const struct model *model, const struct model_member *member, struct result *result)
{
    (void)member;
    if (model->health == MODEL_UNKNOWN || model->voters_up > model->voters / 2) return false;
    result->severity = MODEL_ALERT;
    say(result, "quorum lost: %zu of %zu voting members answer, %zu are needed", model->voters_up,
        model->voters, model->voters / 2 + 1);
    return true;
}

static bool member_down(const struct model *model, const struct model_member *member, struct result *result)
{
    if (member->is_up || (!member->status.asked && member->endpoint[0] != 0)) return false;
    bool at_risk = model->voters > 1 && model->voters_up <= model->voters / 2 + 1;
    result->severity = at_risk ? MODEL_ALERT : MODEL_WARNING;
    if (member->endpoint[0] == 0)
        say(result, "member %s has not started: it tells no client URL", model_member_label(member).text);
    else if (strncmp(member->status.why, "etcdserver: ", 12) == 0)
        say(result, "%s refuses to answer (%.80s)", model_member_label(member).text, member->status.why + 12);
    else
        say(result, "%s does not answer (%.80s)", model_member_label(member).text,
            member->status.why[0] != 0 ? member->status.why : "nothing came in time");
    return true;
}

static bool alarm(const struct model *model, const struct model_member *member, struct result *result)
{
    for (size_t i = 0; i < model->alarm_count; i++) {
        if (model->alarms[i].member != member->id || !member->has_id) continue;
        result->severity = MODEL_ALERT;
        if (model->alarms[i].kind == ETCDSERVERPB__ALARM_TYPE__NOSPACE)
            say(result, "alarm NOSPACE by %s: writes are refused; compact, defragment, then alarm disarm",
                model_member_label(member).text);
        else
            say(result, "alarm CORRUPT by %s: its data differs from the others'",
                model_member_label(member).text);
        return true;
    }
    return false;
}

static bool quota_high(const struct model *model, const struct model_member *member, struct result *result)
{
    (void)model;
    if (!(member->quota_used >= FINDINGS_QUOTA_HIGH)) return false;
    result->severity = member->quota_used >= QUOTA_FULL ? MODEL_ALERT : MODEL_WARNING;
    say(result, "quota above 80 %%: %s uses %s of it", model_member_label(member).text,
        units_percent(member->quota_used).text);
    return true;
}

static bool disk_slow(const struct model *model, const struct model_member *member, struct result *result)
{
    if (!(member->fsync > FINDINGS_FSYNC_SLOW)) return false;
    double best = NAN;
    for (size_t i = 0; i < model->member_count; i++)
        if (model->members[i] != member) best = fmin(best, model->members[i]->fsync);
    result->severity = member->fsync > FSYNC_VERY_SLOW ? MODEL_ALERT : MODEL_WARNING;
    if (isnan(best))
        say(result, "%s disk is slow: WAL fsync p99 %s", model_member_label(member).text,
            units_seconds(member->fsync).text);
    else
        say(result, "%s disk is slow: WAL fsync p99 %s, best other %s", model_member_label(member).text,
            units_seconds(member->fsync).text, units_seconds(best).text);
    return true;
}

static bool commit_slow(const struct model *model, const struct model_member *member, struct result *result)
{
    (void)model;
    if (!(member->commit > COMMIT_SLOW)) return false;
    result->severity = MODEL_WARNING;
    say(result, "%s backend commits are slow: p99 %s", model_member_label(member).text,
        units_seconds(member->commit).text);
    return true;
}

static bool behind(const struct model *model, const struct model_member *member, struct result *result)
{
    (void)model;
    if (!(member->lag > LAG_HIGH)) return false;
    result->severity = MODEL_WARNING;
    say(result, "%s is %s entries behind the leader", model_member_label(member).text,
        units_count(member->lag).text);
    return true;
}

static bool tells_errors(const struct model *model, const struct model_member *member, struct result *result)
{
    if (!member->is_fresh || member->error_count == 0) return false;
    /* Alarms and a missing leader are among them, and are said already. */
    if (model->alarm_count > 0 || model->leader == 0) return false;
    result->severity = MODEL_WARNING;
    say(result, "%s reports: %.100s", model_member_label(member).text, member->errors);
    return true;
}

static bool other_version(const struct model *model, const struct model_member *member, struct result *result)
{
    const struct model_member *leader = model_member_by_id(model, model->leader);
    if (!member->is_fresh || leader == NULL || !leader->is_fresh) return false;
    if (strcmp(member->version, leader->version) == 0) return false;
    result->severity = MODEL_NOTE;
    say(result, "%s runs %s, the leader %s", model_member_label(member).text, member->version,
        leader->version);
    return true;
}

static bool no_metrics(const struct model *model, const struct model_member *member, struct result *result)
{
    (void)model;
    if (!member->is_up || !member->metrics.asked || member->metrics.good) return false;
    result->severity = MODEL_NOTE;
    say(result, "%s /metrics cannot be read: %.100s", model_member_label(member).text, member->metrics.why);
    return true;
}

/* All members that could be smaller in one line: they are usually alike. */
static bool shrinkable(const struct model *model, const struct model_member *nobody, struct result *result)
{
    (void)nobody;
    char who[MODEL_TEXT / 2] = "";
    size_t used = 0;
    double size = 0, in_use = 0;
    for (size_t i = 0; i < model->member_count; i++) {
        const struct model_member *member = model->members[i];
        double whole = (double)member->db_size, needed = (double)member->db_in_use;
        if (!member->is_fresh || needed <= 0 || whole - needed < SHRINKABLE_BYTES) continue;
        if ((whole - needed) / whole < SHRINKABLE_LEAST) continue;
        int wrote = snprintf(who + used, sizeof(who) - used, " %s", model_member_label(member).text);
        if (wrote > 0 && used + (size_t)wrote < sizeof(who)) used += (size_t)wrote;
        size = fmax(size, whole);
        in_use = fmax(in_use, needed);
    }
    if (size <= 0) return false;
    result->severity = MODEL_NOTE;
    say(result, "database could shrink by defragmenting%s (%s to %s)", who, units_bytes(size).text,
        units_bytes(in_use).text);
    return true;
}

static bool dropped(const struct model *model, const struct model_member *member, struct result *result)
{
    (void)member;
    if (model->endpoints_dropped == 0) return false;
    result->severity = MODEL_NOTE;
    say(result, "more than %d members: the others are not shown", MODEL_MEMBERS_MAX);
    return true;
}

static const struct {
    rule_fn *holds;
    bool per_member;
} rules[] = {
    {quorum_lost, false}, {no_leader, false},  {alarm, true},    {member_down, true},  {quota_high, true},
    {disk_slow, true},    {commit_slow, true}, {behind, true},   {tells_errors, true}, {other_version, true},
    {no_metrics, true},   {shrinkable, false}, {dropped, false},
};

struct evaluation {
    struct model_finding found[MODEL_FINDINGS_MAX];
    size_t count;
};

static void evaluate(struct evaluation *evaluation, const struct model *model, size_t rule,
                     const struct model_member *member)
{
    struct result result;
    if (evaluation->count == MODEL_FINDINGS_MAX || !rules[rule].holds(model, member, &result)) return;
    struct model_finding *finding = &evaluation->found[evaluation->count++];
    finding->severity = result.severity;
    finding->key = rule << 32 | (member == NULL ? 0 : member->serial & UINT32_MAX);
    finding->since = model->wall;
    memcpy(finding->text, result.text, sizeof(finding->text));
    for (size_t i = 0; i < model->finding_count; i++)
        if (model->findings[i].key == finding->key) finding->since = model->findings[i].since;
}

void findings_evaluate(struct model *model)
{
    struct evaluation evaluation = {.count = 0};
    for (size_t rule = 0; rule < sizeof(rules) / sizeof(rules[0]); rule++) {
        if (!rules[rule].per_member) evaluate(&evaluation, model, rule, NULL);
        for (size_t i = 0; rules[rule].per_member && i < model->member_count; i++)
            evaluate(&evaluation, model, rule, model->members[i]);
    }
    model->finding_count = 0;
    for (int severity = MODEL_ALERT; severity >= MODEL_NOTE; severity--)
        for (size_t i = 0; i < evaluation.count; i++)
            if ((int)evaluation.found[i].severity == severity)
                model->findings[model->finding_count++] = evaluation.found[i];
}
