#include "cluster/cluster_internal.h"

#include "base/memory.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>

static void write_text(struct buf *out, const char *text)
{
    text_json_quote(out, bytes_from_string(text), true);
}

/* ---- members ---- */

static void write_urls(struct buf *out, const struct cluster_urls *urls)
{
    buf_append_byte(out, '[');
    for (size_t i = 0; i < urls->count; i++) {
        if (i > 0) buf_append_byte(out, ',');
        write_text(out, urls->items[i]);
    }
    buf_append_byte(out, ']');
}

static void write_raft_fields(struct buf *out, const struct cluster_member *member)
{
    buf_append_string(out, "\"peerURLs\":");
    if (member->peer_urls.count == 0)
        buf_append_string(out, "null");
    else
        write_urls(out, &member->peer_urls);
    if (member->is_learner) buf_append_string(out, ",\"isLearner\":true");
}

static bool has_name(const struct cluster_member *member)
{
    return member->name != NULL && member->name[0] != '\0';
}

/* `comma`: something stands in front. */
static void write_attribute_fields(struct buf *out, const struct cluster_member *member, bool comma)
{
    if (has_name(member)) {
        buf_append_string(out, comma ? ",\"name\":" : "\"name\":");
        write_text(out, member->name);
        comma = true;
    }
    if (member->client_urls.count > 0) {
        buf_append_string(out, comma ? ",\"clientURLs\":" : "\"clientURLs\":");
        write_urls(out, &member->client_urls);
    }
}

void cluster_member_write(struct buf *out, const struct cluster_member *member)
{
    buf_printf(out, "{\"id\":%" PRIu64 ",", member->id);
    write_raft_fields(out, member);
    write_attribute_fields(out, member, true);
    buf_append_byte(out, '}');
}

void cluster_write_raft_attributes(struct buf *out, const struct cluster_member *member)
{
    buf_append_byte(out, '{');
    write_raft_fields(out, member);
    buf_append_byte(out, '}');
}

void cluster_write_attributes(struct buf *out, const struct cluster_member *member)
{
    buf_append_byte(out, '{');
    write_attribute_fields(out, member, false);
    buf_append_byte(out, '}');
}

static void read_urls(struct json_reader *reader, struct cluster_urls *urls)
{
    struct buf text = {0};
    if (!json_enter(reader, '[')) return;
    cluster_urls_deinit(urls);
    while (json_next_item(reader)) {
        buf_clear(&text);
        json_read_string(reader, &text);
        if (urls->count == CLUSTER_URLS_MAX || text.size > CLUSTER_URL_MAX ||
            memchr(buf_string(&text), 0, text.size) != NULL) {
            reader->failed = true;
            break;
        }
        cluster_urls_append(urls, buf_bytes(&text));
    }
    buf_deinit(&text);
}

static void read_name(struct json_reader *reader, struct cluster_member *member)
{
    struct buf text = {0};
    if (json_read_string(reader, &text)) {
        if (text.size > 0 && memchr(text.data, 0, text.size) != NULL) reader->failed = true;
        free(member->name);
        member->name = mem_strdup(buf_string(&text));
    }
    buf_deinit(&text);
}

/* Go takes field names in any case. */
static bool key_is(struct buf *key, const char *name)
{
    return strcasecmp(buf_string(key), name) == 0;
}

static void read_member(struct json_reader *reader, struct cluster_member *member, bool *is_promote)
{
    struct buf key = {0};
    if (!json_enter(reader, '{')) reader->failed = true;
    while (json_next_key(reader, &key)) {
        if (key_is(&key, "id"))
            json_read_uint64(reader, &member->id);
        else if (key_is(&key, "peerURLs"))
            read_urls(reader, &member->peer_urls);
        else if (key_is(&key, "isLearner"))
            json_read_bool(reader, &member->is_learner);
        else if (key_is(&key, "name"))
            read_name(reader, member);
        else if (key_is(&key, "clientURLs"))
            read_urls(reader, &member->client_urls);
        else if (is_promote != NULL && key_is(&key, "isPromote"))
            json_read_bool(reader, is_promote);
        else
            json_skip(reader);
    }
    buf_deinit(&key);
    if (member->name == NULL) member->name = mem_strdup("");
}

static struct error *malformed(const char *what, struct bytes json)
{
    int shown = json.size < 200 ? (int)json.size : 200;
    return error_new(ERROR_INVALID, "%s is not understood: %.*s", what, shown, (const char *)json.data);
}

struct error *cluster_parse_member_fields(struct bytes json, struct cluster_member *member, bool *is_promote)
{
    struct json_reader reader = json_reader_of(json);
    read_member(&reader, member, is_promote);
    return json_at_end(&reader) ? NULL : malformed("member", json);
}

struct error *cluster_member_parse(struct bytes json, struct cluster_member *member)
{
    struct cluster_member parsed = {0};
    struct error *error = cluster_parse_member_fields(json, &parsed, NULL);
    if (error == NULL && parsed.id == 0) error = malformed("member without id", json);
    if (error == NULL) {
        cluster_member_deinit(member);
        *member = parsed;
    } else {
        cluster_member_deinit(&parsed);
    }
    return error;
}

void cluster_members_write(struct buf *out, const struct cluster *cluster)
{
    buf_append_byte(out, '[');
    for (size_t i = 0; i < cluster->count; i++) {
        if (i > 0) buf_append_byte(out, ',');
        cluster_member_write(out, &cluster->members[i]);
    }
    buf_append_byte(out, ']');
}

struct error *cluster_members_parse(struct bytes json, struct cluster_member **members, size_t *count)
{
    struct json_reader reader = json_reader_of(json);
    *members = mem_zalloc(CLUSTER_MEMBERS_MAX, sizeof(**members));
    *count = 0;
    if (!json_enter(&reader, '[')) reader.failed = true;
    while (json_next_item(&reader)) {
        if (*count == CLUSTER_MEMBERS_MAX) {
            reader.failed = true;
            break;
        }
        struct cluster_member *member = &(*members)[(*count)++];
        read_member(&reader, member, NULL);
        if (member->id == 0) reader.failed = true;
    }
    if (json_at_end(&reader)) return NULL;
    for (size_t i = 0; i < *count; i++) cluster_member_deinit(&(*members)[i]);
    free(*members);
    *members = NULL;
    *count = 0;
    return malformed("member list", json);
}

/* ---- downgrade ---- */

void cluster_write_downgrade(struct buf *out, struct cluster_downgrade downgrade)
{
    buf_append_string(out, "{\"target-version\":\"");
    if (downgrade.enabled) version_format(out, downgrade.target);
    buf_printf(out, "\",\"enabled\":%s}", downgrade.enabled ? "true" : "false");
}

struct error *cluster_parse_downgrade(struct bytes json, struct cluster_downgrade *downgrade)
{
    struct json_reader reader = json_reader_of(json);
    struct buf key = {0}, target = {0};
    struct cluster_downgrade parsed = {.enabled = false};
    if (!json_enter(&reader, '{')) reader.failed = true;
    while (json_next_key(&reader, &key)) {
        if (key_is(&key, "target-version"))
            json_read_string(&reader, &target);
        else if (key_is(&key, "enabled"))
            json_read_bool(&reader, &parsed.enabled);
        else
            json_skip(&reader);
    }
    bool good = json_at_end(&reader);
    if (good && parsed.enabled) good = version_parse(buf_bytes(&target), &parsed.target);
    buf_deinit(&key);
    buf_deinit(&target);
    if (!good) return malformed("downgrade row", json);
    *downgrade = parsed;
    return NULL;
}

/* ---- confState ---- */

static const struct {
    const char *name;
    size_t offset;
} conf_state_lists[] = {
    {"voters", offsetof(struct raft_conf_state, voters)},
    {"learners", offsetof(struct raft_conf_state, learners)},
    {"voters_outgoing", offsetof(struct raft_conf_state, voters_outgoing)},
    {"learners_next", offsetof(struct raft_conf_state, learners_next)},
};
enum { CONF_STATE_LISTS = sizeof(conf_state_lists) / sizeof(conf_state_lists[0]) };

void cluster_conf_state_write(struct buf *out, const struct raft_conf_state *state)
{
    buf_append_byte(out, '{');
    for (size_t i = 0; i < CONF_STATE_LISTS; i++) {
        const struct raft_ids *ids =
            (const struct raft_ids *)(const void *)((const char *)state + conf_state_lists[i].offset);
        if (ids->count == 0) continue;
        buf_printf(out, "\"%s\":[", conf_state_lists[i].name);
        for (size_t j = 0; j < ids->count; j++)
            buf_printf(out, "%s%" PRIu64, j == 0 ? "" : ",", ids->items[j]);
        buf_append_string(out, "],");
    }
    buf_printf(out, "\"auto_leave\":%s}", state->auto_leave ? "true" : "false");
}

static void read_ids(struct json_reader *reader, struct raft_ids *ids)
{
    if (!json_enter(reader, '[')) return;
    while (json_next_item(reader)) {
        uint64_t id = 0;
        json_read_uint64(reader, &id);
        if (id == 0 || ids->count == RAFT_MEMBERS_MAX) {
            reader->failed = true;
            return;
        }
        raft_ids_append(ids, id);
    }
    raft_ids_sort(ids);
}

static void read_conf_state_field(struct json_reader *reader, struct buf *key, struct raft_conf_state *state)
{
    for (size_t i = 0; i < CONF_STATE_LISTS; i++) {
        if (!key_is(key, conf_state_lists[i].name)) continue;
        read_ids(reader, (struct raft_ids *)(void *)((char *)state + conf_state_lists[i].offset));
        return;
    }
    if (key_is(key, "auto_leave"))
        json_read_bool(reader, &state->auto_leave);
    else
        json_skip(reader);
}

struct error *cluster_conf_state_parse(struct bytes json, struct raft_conf_state *state)
{
    struct json_reader reader = json_reader_of(json);
    struct raft_conf_state parsed = {0};
    struct buf key = {0};
    if (!json_enter(&reader, '{')) reader.failed = true;
    while (json_next_key(&reader, &key)) read_conf_state_field(&reader, &key, &parsed);
    buf_deinit(&key);
    bool good = json_at_end(&reader);
    if (good) raft_conf_state_copy(state, &parsed);
    raft_conf_state_deinit(&parsed);
    return good ? NULL : malformed("confState row", json);
}
