#include "shell/present_cluster.h"

#include "api/json.h"
#include "base/arena.h"
#include "base/text.h"

#include <assert.h>

/* ---- Rows of cells ---- */

struct rows {
    struct arena *arena;
    const char **cells;
    size_t count, room;
};

static struct rows rows_new(size_t room)
{
    struct rows rows = {.arena = arena_new(), .room = room};
    rows.cells = arena_alloc(rows.arena, (room + 1) * sizeof(*rows.cells));
    return rows;
}

static void rows_add(struct rows *rows, const char *cell)
{
    assert(rows->count < rows->room);
    rows->cells[rows->count++] = cell;
}

static const char *size_cell(struct rows *rows, int64_t size)
{
    struct buf text = {0};
    text_humanize_bytes(&text, (uint64_t)size);
    const char *cell = arena_string(rows->arena, buf_bytes(&text));
    buf_deinit(&text);
    return cell;
}

static const char *joined_cell(struct rows *rows, char *const *items, size_t count, const char *between)
{
    struct buf text = {0};
    for (size_t i = 0; i < count; i++) buf_printf(&text, "%s%s", i > 0 ? between : "", items[i]);
    const char *cell = arena_string(rows->arena, buf_bytes(&text));
    buf_deinit(&text);
    return cell;
}

static const char *bool_cell(bool value)
{
    return value ? "true" : "false";
}

static void show_rows(struct print_target *target, struct rows *rows, size_t columns,
                      const char *const *header)
{
    if (header != NULL)
        print_table(target->out, columns, header, rows->cells, rows->count / columns);
    else
        print_joined(target->out, columns, rows->cells, rows->count / columns);
    arena_free(rows->arena);
}

/* ---- member list ---- */

static const char *const member_header[] = {"ID",         "STATUS",       "NAME",
                                            "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"};
enum { MEMBER_COLUMNS = sizeof(member_header) / sizeof(member_header[0]) };

static void member_rows(struct print_target *target, const Etcdserverpb__MemberListResponse *response,
                        const char *const *header)
{
    struct rows rows = rows_new(response->n_members * MEMBER_COLUMNS);
    for (size_t i = 0; i < response->n_members; i++) {
        const Etcdserverpb__Member *member = response->members[i];
        rows_add(&rows, arena_printf(rows.arena, "%llx", (unsigned long long)member->id));
        rows_add(&rows, member->name[0] != 0 ? "started" : "unstarted");
        rows_add(&rows, member->name);
        rows_add(&rows, joined_cell(&rows, member->peerurls, member->n_peerurls, ","));
        rows_add(&rows, joined_cell(&rows, member->clienturls, member->n_clienturls, ","));
        rows_add(&rows, bool_cell(member->islearner));
    }
    show_rows(target, &rows, MEMBER_COLUMNS, header);
}

static void member_list_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    member_rows(target, message, NULL);
}

static void member_list_table(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    member_rows(target, message, member_header);
}

static void member_list_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__MemberListResponse *response = message;
    print_header_fields(target, response->header);
    for (size_t i = 0; i < response->n_members; i++) {
        const Etcdserverpb__Member *member = response->members[i];
        print_field_id(target, "ID", member->id);
        print_field_quoted(target, "Name", bytes_from_string(member->name));
        for (size_t j = 0; j < member->n_peerurls; j++)
            print_field_quoted(target, "PeerURL", bytes_from_string(member->peerurls[j]));
        for (size_t j = 0; j < member->n_clienturls; j++)
            print_field_quoted(target, "ClientURL", bytes_from_string(member->clienturls[j]));
        print_field_bool(target, "IsLearner", member->islearner);
        buf_append_byte(target->out, '\n');
    }
}

static void json_strings(struct buf *out, const char *name, char *const *items, size_t count)
{
    buf_printf(out, ",\"%s\":", name);
    buf_append_string(out, count == 0 ? "null" : "[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0) buf_append_byte(out, ',');
        text_json_quote(out, bytes_from_string(items[i]), true);
    }
    if (count > 0) buf_append_byte(out, ']');
}

/* With --hex the ids are strings, and what is empty stays in. */
static void member_list_json(struct print_target *target, const void *message, const void *detail)
{
    const Etcdserverpb__MemberListResponse *response = message;
    struct buf *out = target->out;
    if (!target->style.hex) {
        print_message_json(target, message, detail);
        return;
    }
    static const Etcdserverpb__ResponseHeader none = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    const Etcdserverpb__ResponseHeader *header = response->header != NULL ? response->header : &none;
    buf_printf(
        out, "{\"header\":{\"cluster_id\":\"%llx\",\"member_id\":\"%llx\",\"raft_term\":%llu},\"members\":[",
        (unsigned long long)header->cluster_id, (unsigned long long)header->member_id,
        (unsigned long long)header->raft_term);
    for (size_t i = 0; i < response->n_members; i++) {
        const Etcdserverpb__Member *member = response->members[i];
        buf_printf(out, "%s{\"ID\":\"%llx\",\"name\":", i > 0 ? "," : "", (unsigned long long)member->id);
        text_json_quote(out, bytes_from_string(member->name), true);
        json_strings(out, "peerURLs", member->peerurls, member->n_peerurls);
        json_strings(out, "clientURLs", member->clienturls, member->n_clienturls);
        buf_append_byte(out, '}');
    }
    buf_append_string(out, "]}\n");
}

const struct presentation present_member_list = {
    {member_list_simple, member_list_fields, member_list_json, print_message_protobuf, member_list_table},
};

/* ---- Changes of members ---- */

static void member_sentence(struct print_target *target, uint64_t member, const char *what,
                            const Etcdserverpb__ResponseHeader *header)
{
    buf_printf(target->out, "Member %16llx %s cluster %16llx\n", (unsigned long long)member, what,
               (unsigned long long)(header != NULL ? header->cluster_id : 0));
}

/* What the new member is to be started with. */
static void member_settings(struct print_target *target, const Etcdserverpb__MemberAddResponse *response,
                            const struct member_detail *added)
{
    struct buf cluster = {0};
    for (size_t i = 0; i < response->n_members; i++) {
        const Etcdserverpb__Member *member = response->members[i];
        const char *name =
            response->member != NULL && member->id == response->member->id ? added->name : member->name;
        for (size_t j = 0; j < member->n_peerurls; j++)
            buf_printf(&cluster, "%s%s=%s", cluster.size > 0 ? "," : "", name, member->peerurls[j]);
    }
    const struct {
        const char *name;
        struct bytes value;
    } settings[] = {
        {"ETCD_NAME", bytes_from_string(added->name)},
        {"ETCD_INITIAL_CLUSTER", buf_bytes(&cluster)},
        {"ETCD_INITIAL_ADVERTISE_PEER_URLS", bytes_from_string(added->peer_urls)},
        {"ETCD_INITIAL_CLUSTER_STATE", bytes_from_string("existing")},
    };
    buf_append_byte(target->out, '\n');
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        buf_printf(target->out, "%s=", settings[i].name);
        text_go_quote(target->out, settings[i].value);
        buf_append_byte(target->out, '\n');
    }
    buf_deinit(&cluster);
}

static void member_add_simple(struct print_target *target, const void *message, const void *detail)
{
    const Etcdserverpb__MemberAddResponse *response = message;
    bool learner = response->member != NULL && response->member->islearner;
    member_sentence(target, response->member != NULL ? response->member->id : 0,
                    learner ? "added as learner to" : "added to", response->header);
    member_settings(target, response, detail);
}

static void member_remove_simple(struct print_target *target, const void *message, const void *detail)
{
    const struct member_detail *member = detail;
    member_sentence(target, member->id, "removed from",
                    ((const Etcdserverpb__MemberRemoveResponse *)message)->header);
}

static void member_update_simple(struct print_target *target, const void *message, const void *detail)
{
    const struct member_detail *member = detail;
    member_sentence(target, member->id, "updated in",
                    ((const Etcdserverpb__MemberUpdateResponse *)message)->header);
}

static void member_promote_simple(struct print_target *target, const void *message, const void *detail)
{
    const struct member_detail *member = detail;
    member_sentence(target, member->id, "promoted in",
                    ((const Etcdserverpb__MemberPromoteResponse *)message)->header);
}

const struct presentation present_member_add = {
    {member_add_simple, NULL, print_message_json, print_message_protobuf, NULL},
};
const struct presentation present_member_remove = {
    {member_remove_simple, NULL, print_message_json, print_message_protobuf, NULL},
};
const struct presentation present_member_update = {
    {member_update_simple, NULL, print_message_json, print_message_protobuf, NULL},
};
const struct presentation present_member_promote = {
    {member_promote_simple, NULL, print_message_json, print_message_protobuf, NULL},
};

/* ---- endpoint status ---- */

static const char *const status_header[] = {
    "ENDPOINT",
    "ID",
    "VERSION",
    "STORAGE VERSION",
    "DB SIZE",
    "IN USE",
    "PERCENTAGE NOT IN USE",
    "QUOTA",
    "IS LEADER",
    "IS LEARNER",
    "RAFT TERM",
    "RAFT INDEX",
    "RAFT APPLIED INDEX",
    "ERRORS",
    "DOWNGRADE TARGET VERSION",
    "DOWNGRADE ENABLED",
};
enum { STATUS_COLUMNS = sizeof(status_header) / sizeof(status_header[0]) };

static const Etcdserverpb__ResponseHeader no_header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
static const Etcdserverpb__DowngradeInfo no_downgrade = ETCDSERVERPB__DOWNGRADE_INFO__INIT;

static void status_row(struct rows *rows, const char *endpoint, const Etcdserverpb__StatusResponse *status)
{
    const Etcdserverpb__ResponseHeader *header = status->header != NULL ? status->header : &no_header;
    const Etcdserverpb__DowngradeInfo *downgrade =
        status->downgradeinfo != NULL ? status->downgradeinfo : &no_downgrade;
    int64_t used = status->dbsize > 0 ? status->dbsizeinuse * 100 / status->dbsize : 100;
    const char *const cells[STATUS_COLUMNS] = {
        endpoint,
        arena_printf(rows->arena, "%llx", (unsigned long long)header->member_id),
        status->version,
        status->storageversion,
        size_cell(rows, status->dbsize),
        size_cell(rows, status->dbsizeinuse),
        arena_printf(rows->arena, "%lld%%", (long long)(100 - used)),
        size_cell(rows, status->dbsizequota),
        bool_cell(status->leader == header->member_id),
        bool_cell(status->islearner),
        arena_printf(rows->arena, "%llu", (unsigned long long)status->raftterm),
        arena_printf(rows->arena, "%llu", (unsigned long long)status->raftindex),
        arena_printf(rows->arena, "%llu", (unsigned long long)status->raftappliedindex),
        joined_cell(rows, status->errors, status->n_errors, ", "),
        downgrade->targetversion,
        bool_cell(downgrade->enabled),
    };
    for (size_t i = 0; i < STATUS_COLUMNS; i++) rows_add(rows, cells[i]);
}

static void status_rows(struct print_target *target, const struct endpoint_answers *answers,
                        const char *const *header)
{
    struct rows rows = rows_new(answers->count * STATUS_COLUMNS);
    for (size_t i = 0; i < answers->count; i++)
        status_row(&rows, answers->items[i].endpoint,
                   (const Etcdserverpb__StatusResponse *)answers->items[i].response);
    show_rows(target, &rows, STATUS_COLUMNS, header);
}

static void status_simple(struct print_target *target, const void *answers, const void *detail)
{
    (void)detail;
    status_rows(target, answers, NULL);
}

static void status_table(struct print_target *target, const void *answers, const void *detail)
{
    (void)detail;
    status_rows(target, answers, status_header);
}

static void status_fields_of(struct print_target *target, const char *endpoint,
                             const Etcdserverpb__StatusResponse *status)
{
    const Etcdserverpb__DowngradeInfo *downgrade =
        status->downgradeinfo != NULL ? status->downgradeinfo : &no_downgrade;
    print_header_fields(target, status->header);
    print_field_quoted(target, "Version", bytes_from_string(status->version));
    print_field_quoted(target, "StorageVersion", bytes_from_string(status->storageversion));
    print_field_int(target, "DBSize", status->dbsize);
    print_field_int(target, "DBSizeInUse", status->dbsizeinuse);
    print_field_int(target, "DBSizeQuota", status->dbsizequota);
    print_field_id(target, "Leader", status->leader);
    print_field_bool(target, "IsLearner", status->islearner);
    print_field_uint(target, "RaftIndex", status->raftindex);
    print_field_uint(target, "RaftTerm", status->raftterm);
    print_field_uint(target, "RaftAppliedIndex", status->raftappliedindex);
    buf_append_string(target->out, "\"Errors\" : [");
    for (size_t i = 0; i < status->n_errors; i++)
        buf_printf(target->out, "%s%s", i > 0 ? " " : "", status->errors[i]);
    buf_append_string(target->out, "]\n");
    print_field_quoted(target, "Endpoint", bytes_from_string(endpoint));
    print_field_quoted(target, "DowngradeTargetVersion", bytes_from_string(downgrade->targetversion));
    print_field_bool(target, "DowngradeEnabled", downgrade->enabled);
    buf_append_byte(target->out, '\n');
}

static void status_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const struct endpoint_answers *answers = message;
    for (size_t i = 0; i < answers->count; i++)
        status_fields_of(target, answers->items[i].endpoint,
                         (const Etcdserverpb__StatusResponse *)answers->items[i].response);
}

static void answers_json(struct print_target *target, const struct endpoint_answers *answers,
                         const char *name)
{
    struct buf *out = target->out;
    if (answers->count == 0) {
        buf_append_string(out, "null\n");
        return;
    }
    for (size_t i = 0; i < answers->count; i++) {
        buf_append_string(out, i == 0 ? "[{\"Endpoint\":" : ",{\"Endpoint\":");
        text_json_quote(out, bytes_from_string(answers->items[i].endpoint), true);
        buf_printf(out, ",\"%s\":", name);
        json_write(out, answers->items[i].response, JSON_GO);
        buf_append_byte(out, '}');
    }
    buf_append_string(out, "]\n");
}

static void status_json(struct print_target *target, const void *answers, const void *detail)
{
    (void)detail;
    answers_json(target, answers, "Status");
}

const struct presentation present_endpoint_status = {
    {status_simple, status_fields, status_json, NULL, status_table},
};

/* ---- endpoint hashkv ---- */

static const char *const hash_header[] = {"ENDPOINT", "HASH", "HASH REVISION"};
enum { HASH_COLUMNS = sizeof(hash_header) / sizeof(hash_header[0]) };

static void hash_rows(struct print_target *target, const struct endpoint_answers *answers,
                      const char *const *header)
{
    struct rows rows = rows_new(answers->count * HASH_COLUMNS);
    for (size_t i = 0; i < answers->count; i++) {
        const Etcdserverpb__HashKVResponse *response =
            (const Etcdserverpb__HashKVResponse *)answers->items[i].response;
        rows_add(&rows, answers->items[i].endpoint);
        rows_add(&rows, arena_printf(rows.arena, "%u", response->hash));
        rows_add(&rows, arena_printf(rows.arena, "%lld", (long long)response->hash_revision));
    }
    show_rows(target, &rows, HASH_COLUMNS, header);
}

static void hash_simple(struct print_target *target, const void *answers, const void *detail)
{
    (void)detail;
    hash_rows(target, answers, NULL);
}

static void hash_table(struct print_target *target, const void *answers, const void *detail)
{
    (void)detail;
    hash_rows(target, answers, hash_header);
}

static void hash_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const struct endpoint_answers *answers = message;
    for (size_t i = 0; i < answers->count; i++) {
        const Etcdserverpb__HashKVResponse *response =
            (const Etcdserverpb__HashKVResponse *)answers->items[i].response;
        print_header_fields(target, response->header);
        print_field_quoted(target, "Endpoint", bytes_from_string(answers->items[i].endpoint));
        print_field_uint(target, "Hash", response->hash);
        print_field_int(target, "HashRevision", response->hash_revision);
        buf_append_byte(target->out, '\n');
    }
}

static void hash_json(struct print_target *target, const void *answers, const void *detail)
{
    (void)detail;
    answers_json(target, answers, "HashKV");
}

const struct presentation present_endpoint_hash_kv = {
    {hash_simple, hash_fields, hash_json, NULL, hash_table}};

/* ---- endpoint health ---- */

static const char *const health_header[] = {"ENDPOINT", "HEALTH", "TOOK", "ERROR"};
enum { HEALTH_COLUMNS = sizeof(health_header) / sizeof(health_header[0]) };

/* Only the healthy ones; the command sends the others to the error stream. */
static void health_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const struct endpoint_healths *healths = message;
    for (size_t i = 0; i < healths->count; i++)
        if (healths->items[i].healthy)
            buf_printf(target->out, "%s is healthy: successfully committed proposal: took = %s\n",
                       healths->items[i].endpoint, healths->items[i].took);
}

static void health_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const struct endpoint_healths *healths = message;
    for (size_t i = 0; i < healths->count; i++) {
        const struct endpoint_health *health = &healths->items[i];
        print_field_quoted(target, "Endpoint", bytes_from_string(health->endpoint));
        print_field_bool(target, "Health", health->healthy);
        print_field_raw(target, "Took", health->took);
        print_field_raw(target, "Error", health->error);
        buf_append_byte(target->out, '\n');
    }
}

static void health_json(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const struct endpoint_healths *healths = message;
    struct buf *out = target->out;
    buf_append_byte(out, '[');
    for (size_t i = 0; i < healths->count; i++) {
        const struct endpoint_health *health = &healths->items[i];
        buf_append_string(out, i == 0 ? "{\"endpoint\":" : ",{\"endpoint\":");
        text_json_quote(out, bytes_from_string(health->endpoint), true);
        buf_printf(out, ",\"health\":%s,\"took\":", bool_cell(health->healthy));
        text_json_quote(out, bytes_from_string(health->took), true);
        if (health->error[0] != 0) {
            buf_append_string(out, ",\"error\":");
            text_json_quote(out, bytes_from_string(health->error), true);
        }
        buf_append_byte(out, '}');
    }
    buf_append_string(out, "]\n");
}

static void health_table(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const struct endpoint_healths *healths = message;
    struct rows rows = rows_new(healths->count * HEALTH_COLUMNS);
    for (size_t i = 0; i < healths->count; i++) {
        rows_add(&rows, healths->items[i].endpoint);
        rows_add(&rows, bool_cell(healths->items[i].healthy));
        rows_add(&rows, healths->items[i].took);
        rows_add(&rows, healths->items[i].error);
    }
    show_rows(target, &rows, HEALTH_COLUMNS, health_header);
}

const struct presentation present_endpoint_health = {
    {health_simple, health_fields, health_json, NULL, health_table},
};

/* ---- alarm ---- */

static const char *alarm_name(Etcdserverpb__AlarmType alarm)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(&etcdserverpb__alarm_type__descriptor, (int)alarm);
    return value != NULL ? value->name : "UNKNOWN";
}

static void alarm_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__AlarmResponse *response = message;
    for (size_t i = 0; i < response->n_alarms; i++)
        buf_printf(target->out, "memberID:%llu alarm:%s \n",
                   (unsigned long long)response->alarms[i]->memberid, alarm_name(response->alarms[i]->alarm));
}

static void alarm_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__AlarmResponse *response = message;
    print_header_fields(target, response->header);
    for (size_t i = 0; i < response->n_alarms; i++) {
        print_field_id(target, "MemberID", response->alarms[i]->memberid);
        print_field_raw(target, "AlarmType", alarm_name(response->alarms[i]->alarm));
        buf_append_byte(target->out, '\n');
    }
}

const struct presentation present_alarm = {
    {alarm_simple, alarm_fields, print_message_json, print_message_protobuf, NULL},
};

/* ---- move-leader, downgrade ---- */

static void move_leader_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)message;
    const struct move_leader_detail *move = detail;
    buf_printf(target->out, "Leadership transferred from %llx to %llx\n", (unsigned long long)move->from,
               (unsigned long long)move->to);
}

const struct presentation present_move_leader = {
    {move_leader_simple, NULL, print_message_json, print_message_protobuf, NULL},
};

static void downgrade_simple(struct print_target *target, const void *message, const void *detail)
{
    const Etcdserverpb__DowngradeResponse *response = message;
    buf_printf(target->out, "Downgrade %s success, cluster version %s\n", (const char *)detail,
               response->version);
}

const struct presentation present_downgrade = {
    {downgrade_simple, NULL, print_message_json, print_message_protobuf, NULL},
};
