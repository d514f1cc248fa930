/* Members of 3.4 and 3.5 keep membership and cluster version in the v2 store, a tree of files, too: changes
 * to it are v2 Requests in the log (etcdserverpb.Request), its whole content is the data of .snap files:
 *
 *     /0/members/<hex id>/raftAttributes    {"peerURLs":["http://.."],"isLearner":true}
 *     /0/members/<hex id>/attributes        {"name":"m1","clientURLs":["http://.."]}
 *     /0/removed_members/<hex id>
 *     /0/version                            3.5.0
 *
 * In the file every node is an object: "Path", and "Children" (a directory) or "Value". */
#include "base/memory.h"
#include "base/text.h"
#include "base/wire.h"
#include "cluster/cluster_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#define MEMBERS    BYTES_LITERAL("/0/members/")
#define REMOVED    BYTES_LITERAL("/0/removed_members/")
#define VERSION    BYTES_LITERAL("/0/version")
#define ATTRIBUTES BYTES_LITERAL("/attributes")
#define RAFT       BYTES_LITERAL("/raftAttributes")

static struct bytes cut(struct bytes text, size_t from)
{
    return bytes_of(text.data + from, text.size - from);
}

/* <prefix><hex id><rest>: false when `path` is not of that form. */
static bool split_path(struct bytes path, struct bytes prefix, uint64_t *id, struct bytes *rest)
{
    if (!bytes_starts_with(path, prefix)) return false;
    path = cut(path, prefix.size);
    size_t size = 0;
    while (size < path.size && path.data[size] != '/') size++;
    *rest = cut(path, size);
    return cluster_parse_hex_id(bytes_of(path.data, size), id);
}

/* ---- v2 Requests ---- */

enum {
    REQUEST_ID = 1,
    REQUEST_METHOD = 2,
    REQUEST_PATH = 3,
    REQUEST_VALUE = 4,
};

struct request_fields {
    uint64_t id;
    struct bytes method;
    struct bytes path;
    struct bytes value;
};

static bool read_request(struct bytes data, struct request_fields *fields)
{
    struct wire_reader reader = wire_reader_of(data);
    struct wire_field field;
    *fields = (struct request_fields){0};
    while (wire_next(&reader, &field)) {
        if (field.number == REQUEST_ID && field.type == WIRE_VARINT) fields->id = field.value;
        if (field.type != WIRE_LENGTH) continue;
        if (field.number == REQUEST_METHOD) fields->method = field.bytes;
        if (field.number == REQUEST_PATH) fields->path = field.bytes;
        if (field.number == REQUEST_VALUE) fields->value = field.bytes;
    }
    return !reader.failed;
}

/* An InternalRaftRequest has a message as field 2, which begins with a field tag; none of these words is one.
 */
bool cluster_is_v2_request(struct bytes data)
{
    static const char *const methods[] = {"PUT", "POST", "DELETE", "QGET", "SYNC"};
    struct request_fields fields;
    if (!read_request(data, &fields)) return false;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (bytes_equal(fields.method, bytes_from_string(methods[i]))) return true;
    return false;
}

void cluster_v2_request_deinit(struct cluster_v2_request *request)
{
    cluster_member_deinit(&request->member);
    *request = (struct cluster_v2_request){0};
}

struct error *cluster_v2_request_parse(struct bytes data, struct cluster_v2_request *request)
{
    struct request_fields fields;
    struct bytes rest;
    uint64_t id;
    if (!read_request(data, &fields)) return error_new(ERROR_INVALID, "v2 request is not understood");
    cluster_v2_request_deinit(request);
    request->kind = CLUSTER_V2_OTHER;
    request->id = fields.id;
    if (!bytes_equal(fields.method, BYTES_LITERAL("PUT"))) return NULL;
    if (bytes_equal(fields.path, VERSION)) {
        request->kind = CLUSTER_V2_VERSION;
        if (version_parse(fields.value, &request->version)) return NULL;
        return error_new(ERROR_INVALID, "v2 request sets a version that is none: %.*s",
                         (int)fields.value.size, (const char *)fields.value.data);
    }
    if (!split_path(fields.path, MEMBERS, &id, &rest) || !bytes_equal(rest, ATTRIBUTES)) return NULL;
    request->kind = CLUSTER_V2_ATTRIBUTES;
    TRY(cluster_parse_member_fields(fields.value, &request->member, NULL));
    request->member.id = id;
    return NULL;
}

/* ---- writing the v2 store ---- */

static void write_file(struct buf *out, struct bytes path, struct bytes value)
{
    buf_append_string(out, "{\"Path\":");
    text_json_quote(out, path, true);
    buf_append_string(out, ",\"Value\":");
    text_json_quote(out, value, true);
    buf_append_byte(out, '}');
}

static void write_member(struct buf *out, const struct cluster_member *member)
{
    char hex[CLUSTER_HEX_ID_SIZE];
    struct buf path = {0}, value = {0};
    cluster_hex_id(hex, member->id);
    buf_printf(out, "\"%s\":{\"Path\":\"/0/members/%s\",\"Children\":{\"raftAttributes\":", hex, hex);
    buf_printf(&path, "/0/members/%s/raftAttributes", hex);
    cluster_write_raft_attributes(&value, member);
    write_file(out, buf_bytes(&path), buf_bytes(&value));
    if (cluster_member_has_started(member) || member->client_urls.count > 0) {
        buf_clear(&path);
        buf_clear(&value);
        buf_append_string(out, ",\"attributes\":");
        buf_printf(&path, "/0/members/%s/attributes", hex);
        cluster_write_attributes(&value, member);
        write_file(out, buf_bytes(&path), buf_bytes(&value));
    }
    buf_append_string(out, "}}");
    buf_deinit(&path);
    buf_deinit(&value);
}

static void write_removed(struct buf *out, uint64_t id)
{
    char hex[CLUSTER_HEX_ID_SIZE];
    cluster_hex_id(hex, id);
    buf_printf(out, "\"%s\":{\"Path\":\"/0/removed_members/%s\",\"Value\":\"\"}", hex, hex);
}

void cluster_v2_snapshot_write(struct buf *out, const struct cluster *cluster)
{
    buf_append_string(out, "{\"Root\":{\"Path\":\"/\",\"Children\":{\"0\":{\"Path\":\"/0\",\"Children\":{"
                           "\"members\":{\"Path\":\"/0/members\",\"Children\":{");
    for (size_t i = 0; i < cluster->count; i++) {
        if (i > 0) buf_append_byte(out, ',');
        write_member(out, &cluster->members[i]);
    }
    buf_append_string(out, "}}");
    if (cluster->removed.count > 0) {
        buf_append_string(out, ",\"removed_members\":{\"Path\":\"/0/removed_members\",\"Children\":{");
        for (size_t i = 0; i < cluster->removed.count; i++) {
            if (i > 0) buf_append_byte(out, ',');
            write_removed(out, cluster->removed.items[i]);
        }
        buf_append_string(out, "}}");
    }
    if (cluster->has_version) {
        struct buf text = {0};
        version_format(&text, cluster->version);
        buf_append_string(out, ",\"version\":");
        write_file(out, VERSION, buf_bytes(&text));
        buf_deinit(&text);
    }
    buf_append_string(out, "}},\"1\":{\"Path\":\"/1\",\"Children\":{}}}},"
                           "\"CurrentIndex\":3,\"CurrentVersion\":2}");
}

/* ---- reading the v2 store ---- */

struct v2_reader {
    struct json_reader json;
    struct cluster *cluster;
    struct buf path; /* of the node being read */
    struct error *error;
};

static void take_member(struct v2_reader *reader, uint64_t id, struct bytes file, struct bytes value)
{
    struct cluster_member *member = cluster_find_or_add(reader->cluster, id);
    if (member == NULL || id == 0) {
        reader->error = error_new(ERROR_INVALID, "member %" PRIx64 " is one too many", id);
    } else if (bytes_equal(file, RAFT) || bytes_equal(file, ATTRIBUTES)) {
        reader->error = cluster_parse_member_fields(value, member, NULL);
        member->id = id;
    }
}

/* What a node says, once it was read. */
static void take_node(struct v2_reader *reader, struct bytes value)
{
    struct bytes path = buf_bytes(&reader->path), file;
    uint64_t id;
    if (reader->error != NULL || reader->json.failed) return;
    if (split_path(path, MEMBERS, &id, &file)) {
        take_member(reader, id, file, value);
    } else if (split_path(path, REMOVED, &id, &file)) {
        raft_ids_insert(&reader->cluster->removed, id);
    } else if (bytes_equal(path, VERSION)) {
        reader->cluster->has_version = version_parse(value, &reader->cluster->version);
        if (!reader->cluster->has_version)
            reader->error =
                error_new(ERROR_INVALID, "version %.*s is none", (int)value.size, (const char *)value.data);
    }
}

static void read_node(struct v2_reader *reader);

/* The names of the children make up their paths. Recursion is bounded by JSON_DEPTH_MAX. */
static void read_children(struct v2_reader *reader)
{
    struct buf name = {0};
    size_t size = reader->path.size;
    if (!json_enter(&reader->json, '{')) return;
    while (json_next_key(&reader->json, &name)) {
        buf_append_byte(&reader->path, '/');
        buf_append_bytes(&reader->path, buf_bytes(&name));
        read_node(reader);
        reader->path.size = size;
    }
    buf_deinit(&name);
}

static void read_node(struct v2_reader *reader)
{
    struct buf key = {0}, value = {0};
    if (!json_enter(&reader->json, '{')) return;
    while (json_next_key(&reader->json, &key)) {
        if (bytes_equal(buf_bytes(&key), BYTES_LITERAL("Children")))
            read_children(reader);
        else if (bytes_equal(buf_bytes(&key), BYTES_LITERAL("Value")))
            json_read_string(&reader->json, &value);
        else
            json_skip(&reader->json);
    }
    take_node(reader, buf_bytes(&value));
    buf_deinit(&key);
    buf_deinit(&value);
}

static struct error *check_members(const struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->count; i++)
        if (cluster->members[i].peer_urls.count == 0)
            return error_new(ERROR_INVALID, "member %" PRIx64 " has no peer URLs", cluster->members[i].id);
    return NULL;
}

struct error *cluster_v2_snapshot_read(struct cluster *cluster, struct bytes json)
{
    struct v2_reader reader = {.json = json_reader_of(json), .cluster = cluster};
    struct buf key = {0};
    cluster_forget(cluster);
    if (!json_enter(&reader.json, '{')) reader.json.failed = true;
    while (json_next_key(&reader.json, &key)) {
        if (bytes_equal(buf_bytes(&key), BYTES_LITERAL("Root")))
            read_node(&reader);
        else
            json_skip(&reader.json);
    }
    buf_deinit(&key);
    buf_deinit(&reader.path);
    if (reader.error == NULL && !json_at_end(&reader.json))
        reader.error = error_new(ERROR_INVALID, "it is not the JSON of a v2 store");
    if (reader.error == NULL) reader.error = check_members(cluster);
    if (reader.error == NULL) return NULL;
    cluster_forget(cluster);
    return error_wrap(reader.error, "v2 store in the snapshot");
}
