/* chain: bytes waiting to be written, partly owned, partly shared.
 *
 * Small pieces are copied together into blocks, so that a turn's worth of frames leaves in one run of memory;
 * large pieces that live in a blob are linked by reference and never copied. Zero-initialised is empty and
 * valid. Loop thread only.
 */
#ifndef NET_CHAIN_H
#define NET_CHAIN_H

#include "base/blob.h"

#include <sys/uio.h>

/* Pieces of a blob at least this large are linked, smaller ones copied. */
enum { CHAIN_LINK_THRESHOLD = 4096, CHAIN_BLOCK_SIZE = 16 * 1024 };

struct chain_segment {
    const uint8_t *data;
    size_t size;
    struct blob *blob; /* one reference; NULL: memory that outlives the segment */
    bool block;        /* `blob` was made by this chain and may be appended to, up to its size */
};

struct chain {
    struct chain_segment *segments;
    size_t first, count, capacity; /* segments[first .. first + count) are in use */
    size_t size;                   /* bytes in all of them */
    size_t block_size;             /* of new blocks; 0: CHAIN_BLOCK_SIZE */
};

void chain_deinit(struct chain *chain);
void chain_clear(struct chain *chain);
/* Copies. */
void chain_append(struct chain *chain, struct bytes bytes);
/* `bytes` must lie in `blob`; links with a reference of its own when they are many, copies otherwise. */
void chain_append_shared(struct chain *chain, struct blob *blob, struct bytes bytes);
/* The same, always linked, and takes the caller's reference. */
void chain_append_blob(struct chain *chain, struct blob *blob, struct bytes bytes);
/* Borrows: the bytes must stay as they are until they have been consumed. */
void chain_append_static(struct chain *chain, struct bytes bytes);
/* Takes the first `size` bytes of `from` and puts them behind `chain`, linked or copied as is cheaper. */
void chain_move(struct chain *chain, struct chain *from, size_t size);
/* Drops the first `size` bytes. */
void chain_consume(struct chain *chain, size_t size);
/* Describes the first bytes in at most `limit` vectors; returns how many. */
size_t chain_vectors(const struct chain *chain, struct iovec *vectors, size_t limit);
/* The first run of contiguous bytes; empty when the chain is. */
struct bytes chain_front(const struct chain *chain);

#endif
