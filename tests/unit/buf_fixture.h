/* buf_fixture: comparing what was written to a buf. */
#ifndef TESTS_BUF_FIXTURE_H
#define TESTS_BUF_FIXTURE_H

#include "base/buf.h"
#include "tests/unit/expect.h"

/* A buf that frees itself at the end of the block. */
#define CLEANUP_BUF __attribute__((cleanup(buf_deinit))) struct buf

static inline void assert_buf(const struct buf *buf, struct bytes expected)
{
    assert_int_equal(buf->size, expected.size);
    if (expected.size > 0) assert_memory_equal(buf->data, expected.data, expected.size);
}

/* Compares as text, so that a failure shows both, and empties the buf. */
static inline void expect_text(struct buf *buf, const char *expected)
{
    assert_string_equal(buf_string(buf), expected);
    assert_int_equal(buf->size, strlen(expected));
    buf_clear(buf);
}

#endif
