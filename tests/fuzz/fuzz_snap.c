/* Arbitrary bytes as a .snap file, and as the data of one whose checksum is right: never a crash, and what
 * was accepted says the same after it was written again. */
#include "base/crc32c.h"
#include "base/wire.h"
#include "raft/codec.h"
#include "storage/snap.h"
#include "tests/fuzz/fuzz.h"

static void check(struct bytes file)
{
    struct raft_snapshot first = {0}, second = {0};
    struct error *error = snap_decode(&first, file);
    if (error != NULL) {
        FUZZ_CHECK(error_is(error, ERROR_CORRUPT));
        error_free(error);
        raft_snapshot_deinit(&first);
        return;
    }
    struct buf again = {0};
    snap_encode(&again, &first);
    error = snap_decode(&second, buf_bytes(&again));
    FUZZ_CHECK(error == NULL);
    FUZZ_CHECK(first.index == second.index && first.term == second.term);
    FUZZ_CHECK(bytes_equal(blob_bytes(first.data), blob_bytes(second.data)));
    FUZZ_CHECK(raft_conf_state_equivalent(&first.conf_state, &second.conf_state));
    raft_snapshot_deinit(&first);
    raft_snapshot_deinit(&second);
    buf_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    check(input);
    struct buf file = {0};
    wire_uint_field(&file, 1, crc32c(0, data, size));
    wire_bytes_field(&file, 2, input);
    check(buf_bytes(&file));
    buf_deinit(&file);
    return 0;
}

bool fuzz_seed(size_t number, struct buf *out)
{
    if (number > 1) return false;
    struct raft_snapshot snapshot = {.index = 6,
                                     .term = 2,
                                     .data = blob_from(BYTES_LITERAL("{\"Root\":{}}"))};
    raft_ids_append(&snapshot.conf_state.voters, 0x8a8f822349c42c31);
    raft_ids_append(&snapshot.conf_state.learners, 7);
    if (number == 0)
        snap_encode(out, &snapshot);
    else
        raft_encode_snapshot(out, &snapshot); /* gets its checksum above */
    raft_snapshot_deinit(&snapshot);
    return true;
}
