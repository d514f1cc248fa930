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
    struct blob *blob; /* one reference */
    size_t begin, end; /* the part of it that is meant */
    bool block;        /* made by this chain, may be appended to up to blob->size */
};

struct chain {
    struct chain_segment *segments;
    size_t first, count, capacity; /* segments[first .. first + count) are in use */
    size_t size;                   /* bytes in all of them */
};

void chain_deinit(struct chain *chain);
void chain_clear(struct chain *chain);
/* Copies. */
void chain_append(struct chain *chain, struct bytes bytes);
/* `bytes` must lie in `blob`; takes a reference of its own when it links. */
void chain_append_blob(struct chain *chain, struct blob *blob, struct bytes bytes);
/* Room for `size` bytes (at most CHAIN_BLOCK_SIZE) in one run at the end; commit with chain_committed. */
uint8_t *chain_reserve(struct chain *chain, size_t size);
void chain_committed(struct chain *chain, size_t size);
/* Moves everything of `from` behind `chain`. */
void chain_move(struct chain *chain, struct chain *from);
/* Drops the first `size` bytes. */
void chain_consume(struct chain *chain, size_t size);
/* Describes the first bytes in at most `limit` vectors; returns how many. */
size_t chain_vectors(const struct chain *chain, struct iovec *vectors, size_t limit);
/* The first run of contiguous bytes; empty when the chain is. */
struct bytes chain_front(const struct chain *chain);

#endif
