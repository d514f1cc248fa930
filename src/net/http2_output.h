/* http2_output: how what lies in a chain leaves as DATA frames, for streams of either side. Internal to
 * src/net.
 */
#ifndef NET_HTTP2_OUTPUT_H
#define NET_HTTP2_OUTPUT_H

#include "net/chain.h"

#include <nghttp2/nghttp2.h>

/* For a read callback of nghttp2, whose send callback then moves the bytes without copying them: how many of
 * the waiting ones go into a frame of at most `length` bytes. `is_whole`: no more will come, so the last of
 * them are the end. NGHTTP2_ERR_DEFERRED when there is nothing to say yet: remember it, and resume the stream
 * when there is. */
static inline ssize_t http2_output_part(const struct chain *output, bool is_whole, size_t length,
                                        uint32_t *flags)
{
    if (output->size == 0 && !is_whole) return NGHTTP2_ERR_DEFERRED;
    size_t part = output->size < length ? output->size : length;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (part == output->size && is_whole) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)part;
}

#endif
