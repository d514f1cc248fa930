/* Fuzzing what other members send: the codec, and the state machine behind it.
 *
 * The first byte chooses. Even: the rest is one raftpb.Message; what can be decoded must be the same after
 * encoding and decoding again. Odd: the rest drives a member through a life: each eight bytes make a message
 * of plausible numbers, a tick, a proposal or a flush. Whatever comes, the member must neither crash nor fail
 * an assertion, and its committed entries must never change.
 */
#include "raft/codec.h"
#include "raft/core.h"
#include "raft/memory_storage.h"
#include "raft/message.h"
#include "tests/fuzz/fuzz.h"

#include "base/memory.h"

/* ---- A member and its application ---- */

struct subject {
    struct raft_memory_storage memory;
    struct raft *raft;
    uint64_t committed; /* seen so far, with the term there */
    uint64_t committed_term;
    bool stopped;
};

/* Every log line is formatted, and then dropped. */
static void drop_record(void *context, const struct log_record *record)
{
    (void)context;
    FUZZ_CHECK(record->message != NULL);
}

static const struct logger logger = {.level = LOG_DEBUG, .emit = drop_record};

static void subject_init(struct subject *subject, uint8_t options)
{
    *subject = (struct subject){0};
    raft_memory_storage_init(&subject->memory);
    struct raft_snapshot snapshot = {.index = 2, .term = 1};
    for (uint64_t id = 1; id <= 3; id++) raft_ids_append(&snapshot.conf_state.voters, id);
    raft_ids_append(&snapshot.conf_state.learners, 4);
    enum raft_result result = raft_memory_storage_apply_snapshot(&subject->memory, &snapshot);
    FUZZ_CHECK(result == RAFT_OK);
    raft_snapshot_deinit(&snapshot);
    struct raft_config config = {
        .id = 1,
        .election_tick = 4,
        .heartbeat_tick = 1,
        .storage = &subject->memory.storage,
        .max_size_per_message = options & 2 ? 16 : RAFT_NO_LIMIT,
        .max_inflight_messages = options & 2 ? 2 : 256,
        .max_uncommitted_entries_size = options & 4 ? 8 : 0,
        .check_quorum = (options & 8) != 0,
        .pre_vote = (options & 16) != 0,
        .read_only_option = (options & 24) == 24 ? RAFT_READ_ONLY_LEASE_BASED : RAFT_READ_ONLY_SAFE,
        .step_down_on_removal = (options & 32) != 0,
        .seed = options,
        .logger = &logger,
    };
    struct error *error = raft_new(&subject->raft, &config);
    FUZZ_CHECK(error == NULL);
}

static void subject_deinit(struct subject *subject)
{
    raft_free(subject->raft);
    raft_memory_storage_deinit(&subject->memory);
}

static void apply(struct subject *subject, const struct raft_entry *entry)
{
    if (entry->type == RAFT_ENTRY_NORMAL) return;
    struct raft_conf_change_v2 change = {0};
    struct error *error = raft_conf_change_from_entry(&change, entry);
    if (error == NULL) {
        struct raft_conf_state *conf_state = &subject->memory.snapshot.conf_state;
        error = raft_apply_conf_change(subject->raft, &change, conf_state);
    }
    error_free(error);
    raft_conf_change_v2_deinit(&change);
}

static void flush(struct subject *subject)
{
    for (int i = 0; i < 100 && raft_has_ready(subject->raft); i++) {
        struct raft_ready ready;
        struct buf text = {0};
        raft_take_ready(subject->raft, &ready);
        raft_describe_ready(&text, &ready);
        buf_deinit(&text);
        if (ready.has_hard_state) raft_memory_storage_set_hard_state(&subject->memory, ready.hard_state);
        if (ready.snapshot != NULL) {
            enum raft_result result = raft_memory_storage_apply_snapshot(&subject->memory, ready.snapshot);
            FUZZ_CHECK(result == RAFT_OK);
        }
        raft_memory_storage_append(&subject->memory, ready.entries.items, ready.entries.count);
        for (size_t j = 0; j < ready.committed_entries.count; j++)
            apply(subject, &ready.committed_entries.items[j]);
        raft_advance(subject->raft);
        raft_ready_deinit(&ready);
    }
}

/* "If a server has applied a log entry at a given index to its state machine, no other server will ever apply
 * a different log entry for the same index" (Raft paper, figure 3): here, on one server. */
static void check_committed(struct subject *subject)
{
    const struct raft_log *log = &subject->raft->log;
    FUZZ_CHECK(log->committed >= subject->committed && log->committed <= raft_log_last_index(log));
    FUZZ_CHECK(log->applied <= log->applying && log->applying <= log->committed);
    if (subject->committed + 1 >= raft_log_first_index(log) && subject->committed > 0) {
        FUZZ_CHECK(raft_log_term_or_zero(log, subject->committed) == subject->committed_term);
    }
    for (size_t i = 0; i < subject->raft->members.count; i++) {
        FUZZ_CHECK(subject->raft->members.items[i].match < subject->raft->members.items[i].next);
    }
    subject->committed = log->committed;
    subject->committed_term = raft_log_term_or_zero(log, log->committed);
}

/* ---- Plausible messages ---- */

static void add_entries(struct raft_message *message, uint8_t how)
{
    static const uint8_t changes[][6] = {
        {0x08, 0x00, 0x10, 0x01, 0x18, 0x02}, /* remove 2 */
        {0x08, 0x00, 0x10, 0x00, 0x18, 0x05}, /* add 5 */
        {0x08, 0x00, 0x10, 0x03, 0x18, 0x03}, /* demote 3 */
        {0x08, 0x00, 0x10, 0x01, 0x18, 0x01}, /* remove 1 */
    };
    uint64_t term = message->type == RAFT_APP ? message->log_term : 0;
    for (unsigned i = 0; i < (how & 3u); i++) {
        struct raft_entry entry = {.index = message->index + 1 + i};
        if (how & 4) term = message->term;
        entry.term = term;
        if (how & 8) {
            entry.type = RAFT_ENTRY_CONF_CHANGE;
            entry.data = blob_from(bytes_of(changes[how >> 6], 6));
        } else if (how & 16) {
            static const uint8_t joint[] = {0x12, 0x04, 0x08, 0x00, 0x10, 0x05,
                                            0x12, 0x04, 0x08, 0x01, 0x10, 0x02};
            entry.type = RAFT_ENTRY_CONF_CHANGE_V2;
            if (how & 32) entry.data = blob_from(bytes_of(joint, sizeof(joint)));
        } else {
            entry.data = blob_new(how & 32 ? 9 : 0);
            if (how & 32) le64_put(entry.data->data, how);
        }
        raft_entries_append_owned(&message->entries, entry);
    }
}

static void add_snapshot(struct raft_message *message, uint8_t how)
{
    static const uint64_t members[] = {1, 2, 3, 4, 5};
    message->snapshot = mem_zalloc(1, sizeof(*message->snapshot));
    message->snapshot->index = message->index;
    message->snapshot->term = message->log_term;
    for (unsigned i = 0; i < 5; i++) {
        if (how >> i & 1) raft_ids_append(&message->snapshot->conf_state.voters, members[i]);
        if (how >> (i + 2) & 1) raft_ids_append(&message->snapshot->conf_state.learners, members[i]);
        if ((how & 0xc0) == 0xc0) raft_ids_append(&message->snapshot->conf_state.voters_outgoing, members[i]);
    }
}

/* What a leader is sent if nobody thinks that the term is over. */
static const enum raft_message_type to_leaders[] = {
    RAFT_APP_RESP, RAFT_APP_RESP,   RAFT_HEARTBEAT_RESP,  RAFT_HEARTBEAT_RESP,
    RAFT_PROP,     RAFT_READ_INDEX, RAFT_TRANSFER_LEADER, RAFT_FORGET_LEADER};

static enum raft_message_type type_of(const struct raft *raft, uint8_t byte)
{
    if (raft->role == RAFT_LEADER && byte >= 32) return to_leaders[byte % 8];
    return (enum raft_message_type)(byte % RAFT_MESSAGE_TYPES);
}

static uint64_t term_of(const struct raft *raft, enum raft_message_type type, uint8_t byte)
{
    if (byte < 16) return 0;
    if (byte < 32) return raft->term + byte % 4 - 1;
    return type == RAFT_PROP || type == RAFT_READ_INDEX ? 0 : raft->term;
}

/* Numbers near the member's own, so that they get past the first checks. */
static struct raft_message make_message(const struct raft *raft, const uint8_t *bytes)
{
    enum raft_message_type type = type_of(raft, bytes[0]);
    struct raft_message message = {
        .type = type,
        .to = 1,
        .from = bytes[1] < 16 ? bytes[1] : bytes[1] % 4 + 2,
        .term = term_of(raft, type, bytes[2]),
        .index = raft_log_last_index(&raft->log) + bytes[3] % 8 - (type == RAFT_APP_RESP ? 7 : 4),
        .commit = raft->log.committed + (bytes[5] < 16 ? bytes[5] % 4 : 0),
        .reject = (bytes[6] & 5) == 5,
        .reject_hint = bytes[5] % 16,
    };
    message.log_term = bytes[4] & 1 ? raft_log_term_or_zero(&raft->log, message.index) : bytes[4] % 8;
    if (bytes[6] & 2) {
        message.context = blob_new(8);
        le64_put(message.context->data, raft->read_only.confirmed + bytes[5] % 4);
    }
    if (message.type == RAFT_SNAP) add_snapshot(&message, bytes[7]);
    if (message.type == RAFT_APP || message.type == RAFT_PROP || message.type == RAFT_READ_INDEX ||
        message.type == RAFT_READ_INDEX_RESP) {
        add_entries(&message, bytes[7]);
    }
    return message;
}

static void compact(struct subject *subject)
{
    const struct raft_log *log = &subject->raft->log;
    if (log->applied <= subject->memory.compacted_index || log->applied >= log->unstable.offset) return;
    if (raft_memory_storage_create_snapshot(&subject->memory, log->applied, NULL, NULL) != RAFT_OK) return;
    enum raft_result result = raft_memory_storage_compact(&subject->memory, log->applied);
    FUZZ_CHECK(result == RAFT_OK);
}

/* An election that it wins, if it may stand. */
static void elect(struct subject *subject)
{
    struct raft *raft = subject->raft;
    (void)raft_campaign(raft);
    flush(subject);
    for (uint64_t id = 2; id <= 3; id++) {
        struct raft_message vote = {.type = RAFT_VOTE_RESP, .to = 1, .from = id, .term = raft->term};
        if (raft->role == RAFT_PRE_CANDIDATE) {
            vote.type = RAFT_PRE_VOTE_RESP;
            vote.term++;
        }
        (void)raft_step_from_peer(raft, &vote);
        flush(subject);
    }
}

static void call(struct subject *subject, const uint8_t *bytes)
{
    struct raft *raft = subject->raft;
    struct blob *data;
    switch (bytes[0] % 8) {
    case 0:
        raft_tick(raft);
        break;
    case 1:
        data = blob_from(bytes_of(bytes, 8));
        (void)raft_propose(raft, &data, 1);
        blob_unref(data);
        break;
    case 2:
        elect(subject);
        break;
    case 3:
        data = blob_from(bytes_of(bytes, 8));
        raft_read_index(raft, data);
        blob_unref(data);
        break;
    case 4:
        raft_report_unreachable(raft, bytes[1] % 7);
        break;
    case 5:
        raft_report_snapshot(raft, bytes[1] % 7, (bytes[2] & 1) != 0);
        break;
    case 6:
        compact(subject);
        break;
    default:
        flush(subject);
    }
}

static void live(const uint8_t *data, size_t size, uint8_t options)
{
    struct subject subject;
    subject_init(&subject, options);
    for (; size >= 9 && !subject.stopped; data += 9, size -= 9) {
        if (data[0] & 1) {
            struct raft_message message = make_message(subject.raft, data + 1);
            subject.stopped = raft_step_from_peer(subject.raft, &message) == RAFT_LOG_LOST;
            raft_message_deinit(&message);
        } else {
            call(&subject, data + 1);
        }
        if (data[0] & 2) flush(&subject);
        check_committed(&subject);
    }
    subject_deinit(&subject);
}

/* ---- Bytes ---- */

static void decode(struct bytes input)
{
    struct raft_message message = {0}, again = {0};
    struct buf first = {0}, second = {0};
    struct error *error = raft_decode_message(&message, input);
    if (error == NULL) {
        raft_encode_message(&first, &message);
        error = raft_decode_message(&again, buf_bytes(&first));
        FUZZ_CHECK(error == NULL);
        raft_encode_message(&second, &again);
        FUZZ_CHECK(bytes_equal(buf_bytes(&first), buf_bytes(&second)));
        buf_clear(&first);
        raft_describe_message(&first, &message);

        struct subject subject;
        subject_init(&subject, 0);
        (void)raft_step_from_peer(subject.raft, &message);
        flush(&subject);
        check_committed(&subject);
        subject_deinit(&subject);
    }
    error_free(error);
    raft_message_deinit(&message);
    raft_message_deinit(&again);
    buf_deinit(&first);
    buf_deinit(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    if (data[0] & 1) {
        live(data + 1, size - 1, data[0]);
    } else {
        decode(bytes_of(data + 1, size - 1));
    }
    return 0;
}

/* Valid messages of all kinds, and a few lives. */
bool fuzz_seed(size_t number, struct buf *out)
{
    static const uint8_t steps[] = {0, 2, 3, 0x81, 1, 7};
    if (number >= RAFT_MESSAGE_TYPES + 8) return false;
    if (number < RAFT_MESSAGE_TYPES) {
        struct raft_message message = {.type = (enum raft_message_type)number,
                                       .to = 1,
                                       .from = 2,
                                       .term = 3,
                                       .index = 2,
                                       .log_term = 1,
                                       .commit = 2};
        struct raft_entry entry = {.term = 3, .index = 3, .data = blob_new(3)};
        memset(entry.data->data, 'x', 3);
        raft_entries_append_owned(&message.entries, entry);
        if (message.type == RAFT_SNAP) add_snapshot(&message, 0x0f);
        buf_append_byte(out, 0);
        raft_encode_message(out, &message);
        raft_message_deinit(&message);
        return true;
    }
    buf_append_byte(out, (uint8_t)(1 | (number << 1)));
    for (size_t i = 0; i < 40 * 9; i++) {
        uint8_t step = i % 9 == 0 ? steps[i / 9 % sizeof(steps)] : (uint8_t)(i * 37 + number * 11);
        buf_append_byte(out, i == 1 ? 2 : step); /* begins with an election */
    }
    return true;
}
