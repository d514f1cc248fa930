#include "tui/once.h"

#include "tui/view.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

void once_text(const struct model *model, int width, bool ascii, struct buf *out)
{
    struct canvas canvas = {.cells = NULL};
    view_overview_print(model, &canvas, width, glyphs_get(ascii));
    for (int y = 0; y < canvas.height; y++) {
        canvas_row_text(&canvas, y, out);
        buf_append_byte(out, '\n');
    }
    canvas_deinit(&canvas);
}

int once_status(const struct model *model)
{
    return model->health == MODEL_HEALTHY ? 0 : 1;
}

/* ---- JSON ---- */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *integer(bool known, int64_t value)
{
    return known ? json_integer(value) : json_null();
}

static json_t *hex(bool known, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIx64, value);
    return known ? json_string(text) : json_null();
}

/* Texts come from the network: what is no UTF-8 is null. */
static json_t *string(const char *text)
{
    json_t *value = json_string(text);
    return value != NULL ? value : json_null();
}

static json_t *age(const struct model *model, const struct model_fetch *fetch)
{
    int64_t nanoseconds = model_age(model, fetch);
    return nanoseconds < 0 ? json_null() : json_real((double)nanoseconds / 1e9);
}

static const char *severity_name(enum model_severity severity)
{
    static const char *const names[] = {"note", "warning", "critical"};
    return names[severity];
}

static json_t *member_json(const struct model *model, const struct model_member *member)
{
    bool fresh = member->is_fresh;
    json_t *out = json_object();
    const char *role = !fresh                                               ? NULL
                       : member->is_learner                                 ? "learner"
                       : member->leader != 0 && member->id == model->leader ? "leader"
                                                                            : "follower";
    json_object_set_new(out, "name", string(member->name));
    json_object_set_new(out, "id", hex(member->has_id, member->id));
    json_object_set_new(out, "endpoint", string(member->endpoint));
    json_object_set_new(out, "peer_url", string(member->peer_url));
    json_object_set_new(out, "up", json_boolean(member->is_up));
    json_object_set_new(out, "error", member->status.why[0] != 0 ? string(member->status.why) : json_null());
    json_object_set_new(out, "answered_seconds_ago", age(model, &member->status));
    json_object_set_new(out, "role", role == NULL ? json_null() : json_string(role));
    json_object_set_new(out, "version", fresh ? string(member->version) : json_null());
    json_object_set_new(out, "raft_term", integer(fresh, (int64_t)member->term));
    json_object_set_new(out, "raft_index", integer(fresh, (int64_t)member->index));
    json_object_set_new(out, "raft_applied_index", integer(fresh, (int64_t)member->applied));
    json_object_set_new(out, "lag", number(member->lag));
    json_object_set_new(out, "revision", integer(fresh, member->revision));
    json_object_set_new(out, "db_size", integer(fresh, member->db_size));
    json_object_set_new(out, "db_size_in_use", integer(fresh, member->db_in_use));
    json_object_set_new(out, "quota_used", number(member->quota_used));
    json_object_set_new(out, "round_trip_seconds", number(fresh ? (double)member->round_trip / 1e9 : NAN));
    json_object_set_new(out, "wal_fsync_p99_seconds", number(member->fsync));
    json_object_set_new(out, "backend_commit_p99_seconds", number(member->commit));
    json_object_set_new(out, "puts_per_second", number(member->put_rate));
    json_object_set_new(out, "ranges_per_second", number(member->range_rate));
    json_object_set_new(out, "txns_per_second", number(member->txn_rate));
    return out;
}

static json_t *finding_json(const struct model_finding *finding)
{
    json_t *out = json_object();
    json_object_set_new(out, "severity", json_string(severity_name(finding->severity)));
    json_object_set_new(out, "text", string(finding->text));
    return out;
}

static json_t *alarm_json(const struct model_alarm *alarm)
{
    json_t *out = json_object();
    json_object_set_new(out, "member", hex(true, alarm->member));
    json_object_set_new(out, "alarm",
                        json_string(alarm->kind == ETCDSERVERPB__ALARM_TYPE__NOSPACE ? "NOSPACE"
                                                                                     : "CORRUPT"));
    return out;
}

void once_json(const struct model *model, struct buf *out)
{
    json_t *root = json_object(), *members = json_array(), *findings = json_array(), *alarms = json_array();
    for (size_t i = 0; i < model->member_count; i++)
        json_array_append_new(members, member_json(model, model->members[i]));
    for (size_t i = 0; i < model->finding_count; i++)
        json_array_append_new(findings, finding_json(&model->findings[i]));
    for (size_t i = 0; i < model->alarm_count; i++)
        json_array_append_new(alarms, alarm_json(&model->alarms[i]));
    json_object_set_new(root, "health", json_string(model_health_name(model->health)));
    json_object_set_new(root, "cluster_id", hex(model->has_cluster_id, model->cluster_id));
    json_object_set_new(root, "revision", integer(model->revision > 0, model->revision));
    json_object_set_new(root, "raft_term", integer(model->term > 0, (int64_t)model->term));
    json_object_set_new(root, "leader", hex(model->leader != 0, model->leader));
    json_object_set_new(root, "members_up", json_integer((json_int_t)model->members_up));
    json_object_set_new(root, "puts_per_second", number(model->put_rate));
    json_object_set_new(root, "ranges_per_second", number(model->range_rate));
    json_object_set_new(root, "txns_per_second", number(model->txn_rate));
    json_object_set_new(root, "watchers", number(model->watchers));
    json_object_set_new(root, "leases", number(model->leases));
    json_object_set_new(root, "keys", number(model->keys));
    json_object_set_new(root, "members", members);
    json_object_set_new(root, "alarms", alarms);
    json_object_set_new(root, "findings", findings);
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    buf_append_string(out, text);
    buf_append_byte(out, '\n');
    free(text);
    json_decref(root);
}
