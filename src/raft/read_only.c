#include "raft/read_only.h"

#include "base/memory.h"

#include <stdlib.h>

void raft_read_only_reset(struct raft_read_only *reads)
{
    struct raft_read_request request;
    while (raft_read_only_pop(reads, UINT64_MAX, &request)) raft_entries_deinit(&request.entries);
    reads->confirmed = 0;
}

void raft_read_only_deinit(struct raft_read_only *reads)
{
    raft_read_only_reset(reads);
    free(reads->items);
    *reads = (struct raft_read_only){0};
}

static void grow(struct raft_read_only *reads)
{
    size_t capacity = reads->capacity == 0 ? 8 : reads->capacity * 2;
    struct raft_read_request *items = mem_alloc(capacity * sizeof(*items));
    for (size_t i = 0; i < reads->count; i++) items[i] = reads->items[(reads->start + i) % reads->capacity];
    free(reads->items);
    reads->items = items;
    reads->start = 0;
    reads->capacity = capacity;
}

uint64_t raft_read_only_add(struct raft_read_only *reads, uint64_t index, const struct raft_message *request)
{
    if (reads->count >= RAFT_PENDING_READS_MAX) return 0;
    if (reads->count == reads->capacity) grow(reads);
    struct raft_read_request *place = &reads->items[(reads->start + reads->count) % reads->capacity];
    *place = (struct raft_read_request){.from = request->from, .index = index};
    raft_entries_append(&place->entries, request->entries.items, request->entries.count);
    reads->count++;
    return raft_read_only_last_position(reads);
}

struct blob *raft_read_only_heartbeat_context(const struct raft_read_only *reads)
{
    if (reads->count == 0) return NULL;
    struct blob *context = blob_new(8);
    le64_put(context->data, raft_read_only_last_position(reads));
    return context;
}

bool raft_read_only_pop(struct raft_read_only *reads, uint64_t position, struct raft_read_request *request)
{
    if (reads->count == 0 || reads->confirmed >= position) return false;
    *request = reads->items[reads->start];
    reads->start = (reads->start + 1) % reads->capacity;
    reads->count--;
    reads->confirmed++;
    return true;
}
