/* raftpb by hand.
 *
 *     Entry             1 Type, 2 Term, 3 Index, 4 Data
 *     SnapshotMetadata  1 conf_state, 2 index, 3 term
 *     Snapshot          1 data, 2 metadata
 *     Message           1 type, 2 to, 3 from, 4 term, 5 logTerm, 6 index, 7 entries, 8 commit, 9 snapshot,
 *                       10 reject, 11 rejectHint, 12 context, 13 vote, 14 responses
 *     HardState         1 term, 2 vote, 3 commit
 *     ConfState         1 voters, 2 learners, 3 voters_outgoing, 4 learners_next, 5 auto_leave
 *     ConfChange        1 id, 2 type, 3 node_id, 4 context
 *     ConfChangeSingle  1 type, 2 node_id
 *     ConfChangeV2      1 transition, 2 changes, 3 context
 */
#include "raft/codec.h"

#include "base/memory.h"
#include "base/wire.h"

#include <assert.h>
#include <stdlib.h>

enum {
    ENTRIES_MAX = 1 << 20, /* of one message: four times what fits etcd's limit of 1 MiB */
    RESPONSES_MAX = 1024,
};

/* ---- Encoding ---- */

void raft_encode_entry(struct buf *out, const struct raft_entry *entry)
{
    wire_uint_field(out, 1, entry->type);
    wire_uint_field(out, 2, entry->term);
    wire_uint_field(out, 3, entry->index);
    if (entry->data != NULL) wire_bytes_field(out, 4, blob_bytes(entry->data));
}

size_t raft_encoded_entry_size(const struct raft_entry *entry)
{
    size_t size = wire_uint_field_size(1, entry->type) + wire_uint_field_size(2, entry->term) +
                  wire_uint_field_size(3, entry->index);
    return entry->data == NULL ? size : size + wire_bytes_field_size(4, entry->data->size);
}

void raft_encode_hard_state(struct buf *out, struct raft_hard_state state)
{
    wire_uint_field(out, 1, state.term);
    wire_uint_field(out, 2, state.vote);
    wire_uint_field(out, 3, state.commit);
}

static void encode_ids(struct buf *out, uint32_t field, const struct raft_ids *ids)
{
    for (size_t i = 0; i < ids->count; i++) wire_uint_field(out, field, ids->items[i]);
}

void raft_encode_conf_state(struct buf *out, const struct raft_conf_state *state)
{
    encode_ids(out, 1, &state->voters);
    encode_ids(out, 2, &state->learners);
    encode_ids(out, 3, &state->voters_outgoing);
    encode_ids(out, 4, &state->learners_next);
    wire_uint_field(out, 5, state->auto_leave);
}

void raft_encode_snapshot(struct buf *out, const struct raft_snapshot *snapshot)
{
    if (snapshot->data != NULL) wire_bytes_field(out, 1, blob_bytes(snapshot->data));
    size_t metadata = wire_message_begin(out, 2);
    size_t conf_state = wire_message_begin(out, 1);
    raft_encode_conf_state(out, &snapshot->conf_state);
    wire_message_end(out, conf_state);
    wire_uint_field(out, 2, snapshot->index);
    wire_uint_field(out, 3, snapshot->term);
    wire_message_end(out, metadata);
}

void raft_encode_message(struct buf *out, const struct raft_message *message)
{
    wire_uint_field(out, 1, message->type);
    wire_uint_field(out, 2, message->to);
    wire_uint_field(out, 3, message->from);
    wire_uint_field(out, 4, message->term);
    wire_uint_field(out, 5, message->log_term);
    wire_uint_field(out, 6, message->index);
    for (size_t i = 0; i < message->entries.count; i++) {
        wire_tag(out, 7, WIRE_LENGTH);
        wire_varint(out, raft_encoded_entry_size(&message->entries.items[i]));
        raft_encode_entry(out, &message->entries.items[i]);
    }
    wire_uint_field(out, 8, message->commit);
    if (message->snapshot != NULL) {
        size_t snapshot = wire_message_begin(out, 9);
        raft_encode_snapshot(out, message->snapshot);
        wire_message_end(out, snapshot);
    }
    wire_uint_field(out, 10, message->reject);
    wire_uint_field(out, 11, message->reject_hint);
    if (message->context != NULL) wire_bytes_field(out, 12, blob_bytes(message->context));
    wire_uint_field(out, 13, message->vote);
    for (size_t i = 0; i < message->responses.count; i++) {
        size_t response = wire_message_begin(out, 14);
        raft_encode_message(out, &message->responses.items[i]);
        wire_message_end(out, response);
    }
}

void raft_encode_conf_change(struct buf *out, const struct raft_conf_change *change)
{
    wire_uint_field(out, 1, change->id);
    wire_uint_field(out, 2, change->type);
    wire_uint_field(out, 3, change->node_id);
    if (change->context.data != NULL) wire_bytes_field(out, 4, change->context);
}

void raft_encode_conf_change_v2(struct buf *out, const struct raft_conf_change_v2 *change)
{
    wire_uint_field(out, 1, change->transition);
    for (size_t i = 0; i < change->count; i++) {
        size_t single = wire_message_begin(out, 2);
        wire_uint_field(out, 1, change->changes[i].type);
        wire_uint_field(out, 2, change->changes[i].node_id);
        wire_message_end(out, single);
    }
    if (change->context.data != NULL) wire_bytes_field(out, 3, change->context);
}

/* ---- Decoding ----
 *
 * The read_ functions add what they find to a struct that is initialised; fields that come twice follow
 * protobuf's rule: the last scalar wins, messages are merged. They are called again for embedded messages. */

#define FIELD(number, type) ((uint32_t)(number) << 3 | (uint32_t)(type))

static uint32_t key_of(const struct wire_field *field)
{
    return FIELD(field->number, field->type);
}

static struct error *malformed(const char *name)
{
    return error_new(ERROR_INVALID, "raftpb.%s: malformed", name);
}

/* A field that the switch did not take: unknown ones are skipped, known ones have the wrong wire type. */
static struct error *other_field(const char *name, const struct wire_field *field, uint32_t last_known)
{
    if (field->number > last_known) return NULL;
    return error_new(ERROR_INVALID, "raftpb.%s: field %u has wire type %d", name, field->number,
                     (int)field->type);
}

static struct error *check_enum(const char *name, uint64_t value, uint64_t end)
{
    if (value < end) return NULL;
    return error_new(ERROR_INVALID, "raftpb.%s: unknown type %llu", name, (unsigned long long)value);
}

static void replace_blob(struct blob **blob, struct bytes bytes)
{
    blob_unref(*blob);
    *blob = blob_from(bytes);
}

static struct error *read_entry(struct raft_entry *entry, struct bytes input)
{
    static const char name[] = "Entry";
    struct wire_reader reader = wire_reader_of(input);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        switch (key_of(&field)) {
        case FIELD(1, WIRE_VARINT):
            TRY(check_enum(name, field.value, RAFT_ENTRY_CONF_CHANGE_V2 + 1));
            entry->type = (enum raft_entry_type)field.value;
            break;
        case FIELD(2, WIRE_VARINT):
            entry->term = field.value;
            break;
        case FIELD(3, WIRE_VARINT):
            entry->index = field.value;
            break;
        case FIELD(4, WIRE_LENGTH):
            replace_blob(&entry->data, field.bytes);
            break;
        default:
            TRY(other_field(name, &field, 4));
        }
    }
    return reader.failed ? malformed(name) : NULL;
}

static struct error *read_hard_state(struct raft_hard_state *state, struct bytes input)
{
    static const char name[] = "HardState";
    struct wire_reader reader = wire_reader_of(input);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        switch (key_of(&field)) {
        case FIELD(1, WIRE_VARINT):
            state->term = field.value;
            break;
        case FIELD(2, WIRE_VARINT):
            state->vote = field.value;
            break;
        case FIELD(3, WIRE_VARINT):
            state->commit = field.value;
            break;
        default:
            TRY(other_field(name, &field, 3));
        }
    }
    return reader.failed ? malformed(name) : NULL;
}

static struct error *add_id(struct raft_ids *ids, uint64_t id)
{
    if (ids->count >= RAFT_MEMBERS_MAX) {
        return error_new(ERROR_INVALID, "raftpb.ConfState: more than %d ids in a list", RAFT_MEMBERS_MAX);
    }
    raft_ids_append(ids, id);
    return NULL;
}

static struct error *add_packed_ids(struct raft_ids *ids, struct bytes packed)
{
    struct wire_reader reader = wire_reader_of(packed);
    uint64_t id;
    while (wire_next_varint(&reader, &id)) TRY(add_id(ids, id));
    return reader.failed ? malformed("ConfState") : NULL;
}

static struct error *read_conf_state(struct raft_conf_state *state, struct bytes input)
{
    static const char name[] = "ConfState";
    struct raft_ids *lists[] = {&state->voters, &state->learners, &state->voters_outgoing,
                                &state->learners_next};
    struct wire_reader reader = wire_reader_of(input);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        switch (key_of(&field)) {
        case FIELD(1, WIRE_VARINT):
        case FIELD(2, WIRE_VARINT):
        case FIELD(3, WIRE_VARINT):
        case FIELD(4, WIRE_VARINT):
            TRY(add_id(lists[field.number - 1], field.value));
            break;
        case FIELD(1, WIRE_LENGTH):
        case FIELD(2, WIRE_LENGTH):
        case FIELD(3, WIRE_LENGTH):
        case FIELD(4, WIRE_LENGTH):
            TRY(add_packed_ids(lists[field.number - 1], field.bytes));
            break;
        case FIELD(5, WIRE_VARINT):
            state->auto_leave = field.value != 0;
            break;
        default:
            TRY(other_field(name, &field, 5));
        }
    }
    return reader.failed ? malformed(name) : NULL;
}

static struct error *read_metadata(struct raft_snapshot *snapshot, struct bytes input)
{
    static const char name[] = "SnapshotMetadata";
    struct wire_reader reader = wire_reader_of(input);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        switch (key_of(&field)) {
        case FIELD(1, WIRE_LENGTH):
            TRY(read_conf_state(&snapshot->conf_state, field.bytes));
            break;
        case FIELD(2, WIRE_VARINT):
            snapshot->index = field.value;
            break;
        case FIELD(3, WIRE_VARINT):
            snapshot->term = field.value;
            break;
        default:
            TRY(other_field(name, &field, 3));
        }
    }
    return reader.failed ? malformed(name) : NULL;
}

static struct error *read_snapshot(struct raft_snapshot *snapshot, struct bytes input)
{
    static const char name[] = "Snapshot";
    struct wire_reader reader = wire_reader_of(input);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        switch (key_of(&field)) {
        case FIELD(1, WIRE_LENGTH):
            replace_blob(&snapshot->data, field.bytes);
            break;
        case FIELD(2, WIRE_LENGTH):
            TRY(read_metadata(snapshot, field.bytes));
            break;
        default:
            TRY(other_field(name, &field, 2));
        }
    }
    return reader.failed ? malformed(name) : NULL;
}

static struct error *add_entry(struct raft_entries *entries, struct bytes input)
{
    if (entries->count >= ENTRIES_MAX) {
        return error_new(ERROR_INVALID, "raftpb.Message: more than %d entries", ENTRIES_MAX);
    }
    struct raft_entry entry = {0};
    struct error *error = read_entry(&entry, input);
    raft_entries_append_owned(entries, entry); /* what failed is released with the message */
    return error;
}

static struct error *read_message(struct raft_message *message, struct bytes input, bool may_have_responses);

static struct error *add_response(struct raft_messages *responses, struct bytes input)
{
    if (responses->count >= RESPONSES_MAX) {
        return error_new(ERROR_INVALID, "raftpb.Message: more than %d responses", RESPONSES_MAX);
    }
    struct raft_message response = {0};
    struct error *error = read_message(&response, input, false);
    raft_messages_append(responses, response);
    return error;
}

static struct error *read_message_part(struct raft_message *message, const struct wire_field *field,
                                       bool may_have_responses)
{
    static const char name[] = "Message";
    switch (key_of(field)) {
    case FIELD(7, WIRE_LENGTH):
        return add_entry(&message->entries, field->bytes);
    case FIELD(9, WIRE_LENGTH):
        if (message->snapshot == NULL) message->snapshot = mem_zalloc(1, sizeof(*message->snapshot));
        return read_snapshot(message->snapshot, field->bytes);
    case FIELD(12, WIRE_LENGTH):
        replace_blob(&message->context, field->bytes);
        return NULL;
    case FIELD(14, WIRE_LENGTH):
        if (!may_have_responses) return error_new(ERROR_INVALID, "raftpb.Message: responses to a response");
        return add_response(&message->responses, field->bytes);
    default:
        return other_field(name, field, 14);
    }
}

static struct error *read_message(struct raft_message *message, struct bytes input, bool may_have_responses)
{
    static const char name[] = "Message";
    struct wire_reader reader = wire_reader_of(input);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        switch (key_of(&field)) {
        case FIELD(1, WIRE_VARINT):
            TRY(check_enum(name, field.value, RAFT_MESSAGE_TYPES));
            message->type = (enum raft_message_type)field.value;
            break;
        case FIELD(2, WIRE_VARINT):
            message->to = field.value;
            break;
        case FIELD(3, WIRE_VARINT):
            message->from = field.value;
            break;
        case FIELD(4, WIRE_VARINT):
            message->term = field.value;
            break;
        case FIELD(5, WIRE_VARINT):
            message->log_term = field.value;
            break;
        case FIELD(6, WIRE_VARINT):
            message->index = field.value;
            break;
        case FIELD(8, WIRE_VARINT):
            message->commit = field.value;
            break;
        case FIELD(10, WIRE_VARINT):
            message->reject = field.value != 0;
            break;
        case FIELD(11, WIRE_VARINT):
            message->reject_hint = field.value;
            break;
        case FIELD(13, WIRE_VARINT):
            message->vote = field.value;
            break;
        default:
            TRY(read_message_part(message, &field, may_have_responses));
        }
    }
    if (reader.failed) return malformed(name);
    /* etcd up to 3.5 writes an empty snapshot into every message. */
    if (message->snapshot != NULL && message->snapshot->index == 0) {
        raft_snapshot_deinit(message->snapshot);
        free(message->snapshot);
        message->snapshot = NULL;
    }
    return NULL;
}

static struct error *read_conf_change(struct raft_conf_change *change, struct bytes input)
{
    static const char name[] = "ConfChange";
    struct wire_reader reader = wire_reader_of(input);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        switch (key_of(&field)) {
        case FIELD(1, WIRE_VARINT):
            change->id = field.value;
            break;
        case FIELD(2, WIRE_VARINT):
            TRY(check_enum(name, field.value, RAFT_CONF_CHANGE_ADD_LEARNER_NODE + 1));
            change->type = (enum raft_conf_change_type)field.value;
            break;
        case FIELD(3, WIRE_VARINT):
            change->node_id = field.value;
            break;
        case FIELD(4, WIRE_LENGTH):
            change->context = field.bytes;
            break;
        default:
            TRY(other_field(name, &field, 4));
        }
    }
    return reader.failed ? malformed(name) : NULL;
}

static struct error *read_single(struct raft_conf_change_single *single, struct bytes input)
{
    static const char name[] = "ConfChangeSingle";
    struct wire_reader reader = wire_reader_of(input);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        switch (key_of(&field)) {
        case FIELD(1, WIRE_VARINT):
            TRY(check_enum(name, field.value, RAFT_CONF_CHANGE_ADD_LEARNER_NODE + 1));
            single->type = (enum raft_conf_change_type)field.value;
            break;
        case FIELD(2, WIRE_VARINT):
            single->node_id = field.value;
            break;
        default:
            TRY(other_field(name, &field, 2));
        }
    }
    return reader.failed ? malformed(name) : NULL;
}

static struct error *add_single(struct raft_conf_change_v2 *change, struct bytes input)
{
    if (change->count >= RAFT_CODEC_CHANGES_MAX) {
        return error_new(ERROR_INVALID, "raftpb.ConfChangeV2: more than %d changes", RAFT_CODEC_CHANGES_MAX);
    }
    struct raft_conf_change_single single = {0};
    TRY(read_single(&single, input));
    change->changes = mem_realloc(change->changes, (change->count + 1) * sizeof(*change->changes));
    change->changes[change->count++] = single;
    return NULL;
}

static struct error *read_conf_change_v2(struct raft_conf_change_v2 *change, struct bytes input)
{
    static const char name[] = "ConfChangeV2";
    struct wire_reader reader = wire_reader_of(input);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        switch (key_of(&field)) {
        case FIELD(1, WIRE_VARINT):
            TRY(check_enum(name, field.value, RAFT_TRANSITION_JOINT_EXPLICIT + 1));
            change->transition = (enum raft_conf_change_transition)field.value;
            break;
        case FIELD(2, WIRE_LENGTH):
            TRY(add_single(change, field.bytes));
            break;
        case FIELD(3, WIRE_LENGTH):
            change->context = field.bytes;
            break;
        default:
            TRY(other_field(name, &field, 3));
        }
    }
    return reader.failed ? malformed(name) : NULL;
}

/* ---- The public decoders: replace on success, empty on failure ---- */

struct error *raft_decode_entry(struct raft_entry *entry, struct bytes input)
{
    blob_unref(entry->data);
    *entry = (struct raft_entry){0};
    struct error *error = read_entry(entry, input);
    if (error == NULL) return NULL;
    blob_unref(entry->data);
    *entry = (struct raft_entry){0};
    return error;
}

struct error *raft_decode_hard_state(struct raft_hard_state *state, struct bytes input)
{
    *state = (struct raft_hard_state){0};
    struct error *error = read_hard_state(state, input);
    if (error != NULL) *state = (struct raft_hard_state){0};
    return error;
}

struct error *raft_decode_conf_state(struct raft_conf_state *state, struct bytes input)
{
    raft_conf_state_deinit(state);
    struct error *error = read_conf_state(state, input);
    if (error != NULL) raft_conf_state_deinit(state);
    return error;
}

struct error *raft_decode_snapshot(struct raft_snapshot *snapshot, struct bytes input)
{
    raft_snapshot_deinit(snapshot);
    struct error *error = read_snapshot(snapshot, input);
    if (error != NULL) raft_snapshot_deinit(snapshot);
    return error;
}

struct error *raft_decode_message(struct raft_message *message, struct bytes input)
{
    raft_message_deinit(message);
    struct error *error = read_message(message, input, true);
    if (error != NULL) raft_message_deinit(message);
    return error;
}

struct error *raft_decode_conf_change(struct raft_conf_change *change, struct bytes input)
{
    *change = (struct raft_conf_change){0};
    struct error *error = read_conf_change(change, input);
    if (error != NULL) *change = (struct raft_conf_change){0};
    return error;
}

struct error *raft_decode_conf_change_v2(struct raft_conf_change_v2 *change, struct bytes input)
{
    raft_conf_change_v2_deinit(change);
    struct error *error = read_conf_change_v2(change, input);
    if (error != NULL) raft_conf_change_v2_deinit(change);
    return error;
}
