/* The feature gates: switches for what is new or on its way out. */
#include "server/options_internal.h"

#include "base/text.h"

enum gate_stage { GATE_ALPHA, GATE_BETA };

struct gate {
    const char *name;
    enum gate_stage stage;
    bool initial;
    const char *without_effect; /* said when it is set to something else; NULL: it has an effect */
};

static const struct gate gates_table[OPTIONS_GATE_COUNT] = {
    [GATE_ALL_ALPHA] = {"AllAlpha", GATE_ALPHA, false},
    [GATE_ALL_BETA] = {"AllBeta", GATE_BETA, false},
    [GATE_COMPACT_HASH_CHECK] = {"CompactHashCheck", GATE_ALPHA, false},
    [GATE_FAST_LEASE_KEEP_ALIVE] =
        {"FastLeaseKeepAlive", GATE_BETA, true,
         "the feature gate FastLeaseKeepAlive is ignored: what is told of leases is "
         "confirmed first, in one round for all that wait"},
    [GATE_INITIAL_CORRUPT_CHECK] = {"InitialCorruptCheck", GATE_ALPHA, false},
    [GATE_LEASE_CHECKPOINT] = {"LeaseCheckpoint", GATE_ALPHA, false},
    [GATE_LEASE_CHECKPOINT_PERSIST] = {"LeaseCheckpointPersist", GATE_ALPHA, false},
    [GATE_PRIORITY_REQUEST] = {"PriorityRequest", GATE_ALPHA, false},
    [GATE_SET_MEMBER_LOCAL_ADDR] = {"SetMemberLocalAddr", GATE_ALPHA, false},
    [GATE_STOP_GRPC_SERVICE_ON_DEFRAG] = {"StopGRPCServiceOnDefrag", GATE_ALPHA, false},
    [GATE_TXN_MODE_WRITE_WITH_SHARED_BUFFER] =
        {"TxnModeWriteWithSharedBuffer", GATE_BETA, true,
         "the feature gate TxnModeWriteWithSharedBuffer is ignored: no "
         "transaction copies a buffer"},
};

void options_gates_default(bool gates[OPTIONS_GATE_COUNT])
{
    for (size_t i = 0; i < OPTIONS_GATE_COUNT; i++) gates[i] = gates_table[i].initial;
}

enum options_gate options_gate_find(struct bytes name)
{
    for (unsigned i = 0; i < OPTIONS_GATE_COUNT; i++)
        if (bytes_equal(name, bytes_from_string(gates_table[i].name))) return (enum options_gate)i;
    return OPTIONS_GATE_COUNT;
}

const char *options_gate_name(enum options_gate gate)
{
    return gates_table[gate].name;
}

const char *options_gate_stage(enum options_gate gate)
{
    return gates_table[gate].stage == GATE_ALPHA ? "ALPHA" : "BETA";
}

static struct bytes trim(struct bytes text)
{
    while (text.size > 0 && text.data[0] == ' ') text = bytes_of(text.data + 1, text.size - 1);
    while (text.size > 0 && text.data[text.size - 1] == ' ') text.size--;
    return text;
}

static bool read_one(struct bytes item, bool gates[OPTIONS_GATE_COUNT], bool set[OPTIONS_GATE_COUNT],
                     struct buf *reason)
{
    const uint8_t *equals = memchr(item.data, '=', item.size);
    struct bytes name = trim(bytes_of(item.data, equals == NULL ? item.size : (size_t)(equals - item.data)));
    if (equals == NULL) {
        buf_printf(reason, "missing bool value for %.*s", (int)name.size, (const char *)name.data);
        return false;
    }
    enum options_gate gate = options_gate_find(name);
    if (gate == OPTIONS_GATE_COUNT) {
        buf_printf(reason, "unrecognized feature gate: %.*s", (int)name.size, (const char *)name.data);
        return false;
    }
    struct bytes value = trim(bytes_of(equals + 1, item.size - (size_t)(equals + 1 - item.data)));
    struct buf text = {0}, details = {0};
    buf_append_bytes(&text, value);
    bool ok = text_parse_bool(buf_string(&text), &gates[gate], &details);
    if (ok && set != NULL) set[gate] = true;
    if (!ok)
        buf_printf(reason, "invalid value of %s=%s, err: %s", gates_table[gate].name, buf_string(&text),
                   buf_string(&details));
    buf_deinit(&text);
    buf_deinit(&details);
    return ok;
}

bool options_gates_read(const char *text, bool gates[OPTIONS_GATE_COUNT], bool set[OPTIONS_GATE_COUNT],
                        struct buf *reason)
{
    while (*text != '\0') {
        size_t size = strcspn(text, ",");
        struct bytes item = trim(bytes_of(text, size));
        if (item.size > 0 && !read_one(item, gates, set, reason)) return false;
        text += size + (text[size] == ',');
    }
    return true;
}

const char *options_gate_ignored(enum options_gate gate, const bool gates[OPTIONS_GATE_COUNT])
{
    return gates[gate] == gates_table[gate].initial ? NULL : gates_table[gate].without_effect;
}

struct error *options_gates_complete(bool gates[OPTIONS_GATE_COUNT], const bool set[OPTIONS_GATE_COUNT])
{
    for (size_t i = GATE_ALL_BETA + 1; i < OPTIONS_GATE_COUNT; i++) {
        enum options_gate all = gates_table[i].stage == GATE_ALPHA ? GATE_ALL_ALPHA : GATE_ALL_BETA;
        if (set[all] && !set[i]) gates[i] = gates[all];
    }
    if (gates[GATE_LEASE_CHECKPOINT_PERSIST] && !gates[GATE_LEASE_CHECKPOINT])
        return error_new(ERROR_INVALID,
                         "enabling feature gate LeaseCheckpointPersist requires enabling feature gate "
                         "LeaseCheckpoint");
    return NULL;
}
