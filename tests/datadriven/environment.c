#include "environment.h"

#include "base/container.h"
#include "base/memory.h"
#include "raft/message.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>

/* ---- Output ---- */

static bool is_silent(const struct environment *environment)
{
    return environment->logger.level == LOG_NONE;
}

void environment_print(struct environment *environment, const char *format, ...)
{
    if (is_silent(environment)) return;
    va_list arguments;
    va_start(arguments, format);
    buf_vprintf(&environment->output, format, arguments);
    va_end(arguments);
}

void environment_print_message(struct environment *environment, const struct raft_message *message)
{
    if (!is_silent(environment)) raft_describe_message(&environment->output, message);
}

static void emit(void *context, const struct log_record *record)
{
    struct environment *environment = context;
    for (const char *at = log_level_name(record->level); *at != 0; at++) {
        buf_append_byte(&environment->output, (uint8_t)toupper((unsigned char)*at));
    }
    buf_printf(&environment->output, " %s\n", record->message);
}

struct buf environment_indent_begin(struct environment *environment)
{
    struct buf outer = environment->output;
    environment->output = (struct buf){0};
    return outer;
}

void environment_indent_end(struct environment *environment, struct buf outer)
{
    struct buf inner = environment->output;
    const char *line = buf_string(&inner);
    environment->output = outer;
    while (*line != 0) {
        size_t length = strcspn(line, "\n");
        buf_printf(&environment->output, "  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    buf_deinit(&inner);
}

/* ---- Nodes and their storage ---- */

static struct environment_node *node_of(struct raft_storage *storage)
{
    return CONTAINER(storage, struct environment_node, storage);
}

static struct raft_storage *memory_of(struct raft_storage *storage)
{
    return &node_of(storage)->memory.storage;
}

static void initial_state(struct raft_storage *storage, struct raft_hard_state *hard,
                          struct raft_conf_state *conf)
{
    memory_of(storage)->vtable->initial_state(memory_of(storage), hard, conf);
}

static enum raft_result entries_of(struct raft_storage *storage, uint64_t low, uint64_t high, uint64_t max,
                                   struct raft_entries *entries)
{
    return memory_of(storage)->vtable->entries(memory_of(storage), low, high, max, entries);
}

static enum raft_result term_of(struct raft_storage *storage, uint64_t index, uint64_t *term)
{
    return memory_of(storage)->vtable->term(memory_of(storage), index, term);
}

static uint64_t first_index(struct raft_storage *storage)
{
    return raft_memory_storage_first_index(&node_of(storage)->memory);
}

static uint64_t last_index(struct raft_storage *storage)
{
    return raft_memory_storage_last_index(&node_of(storage)->memory);
}

static const struct raft_snapshot *latest(const struct environment_node *node)
{
    assert(node->history_count > 0);
    return &node->history[node->history_count - 1];
}

static enum raft_result latest_snapshot(struct raft_storage *storage, struct raft_snapshot *snapshot)
{
    raft_snapshot_copy(snapshot, latest(node_of(storage)));
    return RAFT_OK;
}

static const struct raft_storage_vtable history_vtable = {
    .initial_state = initial_state,
    .entries = entries_of,
    .term = term_of,
    .first_index = first_index,
    .last_index = last_index,
    .snapshot = latest_snapshot,
};

static struct raft_snapshot *add_history(struct environment_node *node)
{
    if (node->history_count == node->history_capacity) {
        node->history_capacity = node->history_capacity == 0 ? 8 : node->history_capacity * 2;
        node->history = mem_realloc(node->history, node->history_capacity * sizeof(*node->history));
    }
    struct raft_snapshot *added = &node->history[node->history_count++];
    *added = (struct raft_snapshot){0};
    return added;
}

static void node_free(struct environment_node *node)
{
    raft_free(node->raft);
    raft_memory_storage_deinit(&node->memory);
    for (size_t i = 0; i < node->history_count; i++) raft_snapshot_deinit(&node->history[i]);
    free(node->history);
    raft_messages_deinit(&node->append_work);
    raft_messages_deinit(&node->apply_work);
    free(node);
}

void environment_init(struct environment *environment)
{
    *environment = (struct environment){0};
    environment->logger =
        (struct logger){.level = LOG_DEBUG, .name = "raft", .emit = emit, .context = environment};
}

void environment_deinit(struct environment *environment)
{
    for (size_t i = 0; i < environment->count; i++) node_free(environment->nodes[i]);
    free(environment->nodes);
    raft_messages_deinit(&environment->in_flight);
    buf_deinit(&environment->output);
}

struct environment_node *environment_node(const struct environment *environment, uint64_t id)
{
    return id >= 1 && id <= environment->count ? environment->nodes[id - 1] : NULL;
}

struct error *environment_add_node(struct environment *environment, const struct raft_config *config,
                                   const struct raft_snapshot *snapshot)
{
    struct environment_node *node = mem_zalloc(1, sizeof(*node));
    node->id = environment->count + 1;
    node->environment = environment;
    node->storage.vtable = &history_vtable;
    raft_memory_storage_init(&node->memory);
    raft_snapshot_copy(add_history(node), snapshot);
    enum raft_result result = RAFT_OK;
    if (snapshot->index != 0) result = raft_memory_storage_apply_snapshot(&node->memory, snapshot);
    assert(result == RAFT_OK);
    node->config = *config;
    node->config.id = node->id;
    node->config.storage = &node->storage;
    node->config.logger = &environment->logger;
    struct error *error = raft_new(&node->raft, &node->config);
    if (error != NULL) {
        node_free(node);
        return error;
    }
    environment->nodes =
        mem_realloc(environment->nodes, (environment->count + 1) * sizeof(struct environment_node *));
    environment->nodes[environment->count++] = node;
    return NULL;
}

/* ---- Messages ---- */

static bool is_local(const struct raft_message *message)
{
    return message->from == message->to || raft_id_is_storage_thread(message->from) ||
           raft_id_is_storage_thread(message->to);
}

static bool is_wanted(const struct raft_message *message, uint64_t to, enum raft_message_type type, bool drop)
{
    if (message->to != to || (type != RAFT_MESSAGE_TYPES && message->type != type)) return false;
    return !drop || !is_local(message);
}

/* Moves the wanted messages out of flight. */
static struct raft_messages take_wanted(struct environment *environment, uint64_t to,
                                        enum raft_message_type type, bool drop)
{
    struct raft_messages taken = {0}, left = {0};
    for (size_t i = 0; i < environment->in_flight.count; i++) {
        struct raft_message *message = &environment->in_flight.items[i];
        struct raft_messages *target = is_wanted(message, to, type, drop) ? &taken : &left;
        raft_messages_append(target, raft_message_take(message));
    }
    raft_messages_deinit(&environment->in_flight);
    environment->in_flight = left;
    return taken;
}

static void step_message(struct environment *environment, uint64_t to, const struct raft_message *message)
{
    struct environment_node *node = environment_node(environment, to);
    if (node == NULL) {
        environment_print(environment, "node %llu does not exist\n", (unsigned long long)to);
        return;
    }
    enum raft_result result =
        is_local(message) ? raft_step(node->raft, message) : raft_step_from_peer(node->raft, message);
    if (result != RAFT_OK) environment_print(environment, "%s\n", raft_result_text(result));
}

size_t environment_deliver(struct environment *environment, uint64_t to, enum raft_message_type type,
                           bool drop)
{
    struct raft_messages taken = take_wanted(environment, to, type, drop);
    size_t count = taken.count;
    for (size_t i = 0; i < count; i++) {
        if (drop) environment_print(environment, "dropped: ");
        environment_print_message(environment, &taken.items[i]);
        environment_print(environment, "\n");
        if (!drop) step_message(environment, to, &taken.items[i]);
    }
    raft_messages_deinit(&taken);
    return count;
}

bool environment_has_messages_to(const struct environment *environment, uint64_t to)
{
    for (size_t i = 0; i < environment->in_flight.count; i++) {
        if (environment->in_flight.items[i].to == to) return true;
    }
    return false;
}

/* ---- Saving and applying ---- */

static struct error *save(struct environment_node *node, struct raft_hard_state hard_state,
                          const struct raft_entries *entries, const struct raft_snapshot *snapshot)
{
    if (!raft_hard_state_is_empty(hard_state)) raft_memory_storage_set_hard_state(&node->memory, hard_state);
    if (snapshot == NULL || snapshot->index == 0) {
        raft_memory_storage_append(&node->memory, entries->items, entries->count);
        return NULL;
    }
    if (entries->count > 0)
        return error_new(ERROR_OTHER, "can't apply snapshot and entries at the same time");
    enum raft_result result = raft_memory_storage_apply_snapshot(&node->memory, snapshot);
    return result == RAFT_OK ? NULL : error_new(ERROR_OTHER, "%s", raft_result_text(result));
}

static struct blob *joined(struct bytes first, struct bytes second)
{
    struct blob *blob = blob_new(first.size + second.size);
    if (first.size > 0) memcpy(blob->data, first.data, first.size);
    if (second.size > 0) memcpy(blob->data + first.size, second.data, second.size);
    return blob;
}

static struct error *apply_entry(struct environment_node *node, const struct raft_entry *entry)
{
    struct raft_conf_state conf_state = {0};
    struct bytes update = blob_bytes(entry->data);
    struct raft_conf_change_v2 change = {0};
    struct error *error = NULL;
    raft_conf_state_copy(&conf_state, &latest(node)->conf_state);
    if (entry->type != RAFT_ENTRY_NORMAL) {
        error = raft_conf_change_from_entry(&change, entry);
        if (error == NULL) error = raft_apply_conf_change(node->raft, &change, &conf_state);
        update = change.context;
    }
    if (error == NULL) {
        struct blob *data = joined(blob_bytes(latest(node)->data), update);
        *add_history(node) = (struct raft_snapshot){.data = data,
                                                    .conf_state = conf_state,
                                                    .index = entry->index,
                                                    .term = entry->term};
    } else {
        raft_conf_state_deinit(&conf_state);
    }
    raft_conf_change_v2_deinit(&change);
    return error;
}

static struct error *apply(struct environment_node *node, const struct raft_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) TRY(apply_entry(node, &entries->items[i]));
    return NULL;
}

static void route(struct environment_node *node, struct raft_messages *messages)
{
    struct environment *environment = node->environment;
    for (size_t i = 0; i < messages->count; i++) {
        struct raft_message message = raft_message_take(&messages->items[i]);
        switch (message.to) {
        case RAFT_APPEND_THREAD:
            raft_messages_append(&node->append_work, message);
            break;
        case RAFT_APPLY_THREAD:
            raft_messages_append(&node->apply_work, message);
            break;
        default:
            raft_messages_append(&environment->in_flight, message);
        }
    }
}

struct error *environment_process_ready(struct environment_node *node)
{
    struct environment *environment = node->environment;
    bool async = node->config.async_storage_writes;
    struct raft_ready ready;
    struct error *error = NULL;
    raft_take_ready(node->raft, &ready);
    if (!is_silent(environment)) raft_describe_ready(&environment->output, &ready);
    if (!async) {
        struct raft_hard_state none = {0};
        error = save(node, ready.has_hard_state ? ready.hard_state : none, &ready.entries, ready.snapshot);
        if (error == NULL) error = apply(node, &ready.committed_entries);
    }
    if (error == NULL) route(node, &ready.messages);
    if (error == NULL && !async) raft_advance(node->raft);
    raft_ready_deinit(&ready);
    return error;
}

/* Takes the first message of a queue. */
static bool take_work(struct raft_messages *work, struct raft_message *message)
{
    if (work->count == 0) return false;
    *message = raft_message_take(&work->items[0]);
    work->count--;
    memmove(work->items, work->items + 1, work->count * sizeof(*work->items));
    return true;
}

typedef struct error *work_function(struct environment_node *node, const struct raft_message *message);

static struct error *do_append(struct environment_node *node, const struct raft_message *message)
{
    struct raft_hard_state hard_state = {message->term, message->vote, message->commit};
    return save(node, hard_state, &message->entries, message->snapshot);
}

static struct error *do_apply(struct environment_node *node, const struct raft_message *message)
{
    return apply(node, &message->entries);
}

static struct error *process_work(struct environment_node *node, struct raft_messages *work, const char *kind,
                                  work_function *function)
{
    struct environment *environment = node->environment;
    struct raft_message message;
    if (!take_work(work, &message)) {
        environment_print(environment, "no %s work to perform", kind);
        return NULL;
    }
    struct raft_messages responses = message.responses;
    message.responses = (struct raft_messages){0};
    environment_print(environment, "Processing:\n");
    environment_print_message(environment, &message);
    environment_print(environment, "\n");
    struct error *error = function(node, &message);
    raft_message_deinit(&message);
    if (error == NULL) {
        environment_print(environment, "Responses:\n");
        for (size_t i = 0; i < responses.count; i++) {
            environment_print_message(environment, &responses.items[i]);
            environment_print(environment, "\n");
            raft_messages_append(&environment->in_flight, raft_message_take(&responses.items[i]));
        }
    }
    raft_messages_deinit(&responses);
    return error;
}

struct error *environment_process_append(struct environment_node *node)
{
    return process_work(node, &node->append_work, "append", do_append);
}

struct error *environment_process_apply(struct environment_node *node)
{
    return process_work(node, &node->apply_work, "apply", do_apply);
}

/* ---- Stabilize ---- */

enum { ROUNDS_MAX = 1000 };

static bool has_ready(struct environment_node *node)
{
    return raft_has_ready(node->raft);
}

static bool has_messages(struct environment_node *node)
{
    return environment_has_messages_to(node->environment, node->id);
}

static bool has_append_work(struct environment_node *node)
{
    return node->append_work.count > 0;
}

static bool has_apply_work(struct environment_node *node)
{
    return node->apply_work.count > 0;
}

static struct error *receive_messages(struct environment_node *node)
{
    environment_deliver(node->environment, node->id, RAFT_MESSAGE_TYPES, false);
    return NULL;
}

static const struct stage {
    const char *title;
    bool (*pending)(struct environment_node *node);
    struct error *(*process)(struct environment_node *node);
    bool until_done; /* title once, then again and again; else once a round */
} stages[] = {
    {"handling Ready", has_ready, environment_process_ready, false},
    {"receiving messages", has_messages, receive_messages, false},
    {"processing append thread", has_append_work, environment_process_append, true},
    {"processing apply thread", has_apply_work, environment_process_apply, true},
};

static struct error *run_stage(const struct stage *stage, struct environment_node *node)
{
    struct environment *environment = node->environment;
    struct error *error;
    environment_print(environment, "> %llu %s\n", (unsigned long long)node->id, stage->title);
    do {
        struct buf outer = environment_indent_begin(environment);
        error = stage->process(node);
        environment_indent_end(environment, outer);
    } while (error == NULL && stage->until_done && stage->pending(node));
    return error;
}

struct error *environment_stabilize(struct environment_node *const *nodes, size_t count)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        bool done = true;
        for (size_t s = 0; s < sizeof(stages) / sizeof(stages[0]); s++) {
            for (size_t i = 0; i < count; i++) {
                if (!stages[s].pending(nodes[i])) continue;
                TRY(run_stage(&stages[s], nodes[i]));
                done = false;
            }
        }
        if (done) return NULL;
    }
    return error_new(ERROR_LIMIT, "not stable after %d rounds", ROUNDS_MAX);
}
