/* buf: a growable run of bytes that it owns.
 *
 * Zero-initialised is empty and valid. Not thread safe. Pointers into `data` die with the next call that
 * grows it.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/bytes.h"

#include <stdarg.h>

struct buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

void buf_deinit(struct buf *buf);
static inline void buf_clear(struct buf *buf)
{
    buf->size = 0;
}
static inline struct bytes buf_bytes(const struct buf *buf)
{
    return bytes_of(buf->data, buf->size);
}
/* Room for `more` bytes behind the present ones; the place to write them (commit with buf->size += n). */
uint8_t *buf_reserve(struct buf *buf, size_t more);
void buf_append(struct buf *buf, const void *data, size_t size);
static inline void buf_append_bytes(struct buf *buf, struct bytes bytes)
{
    buf_append(buf, bytes.data, bytes.size);
}
void buf_append_byte(struct buf *buf, uint8_t byte);
void buf_append_string(struct buf *buf, const char *string);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0), nonnull(2)));
/* Drop the first `size` bytes, which must be there. */
void buf_consume(struct buf *buf, size_t size);
/* The content as a C string (a zero is kept behind the last byte, not counted); valid until the next change.
 */
const char *buf_string(struct buf *buf);
/* Hands the memory over to the caller (free()) and leaves the buf empty. *size may be NULL. Zero terminated.
 */
uint8_t *buf_take(struct buf *buf, size_t *size) __attribute__((warn_unused_result));

#endif
