/* sim_content: what one file of fs_sim holds, now and on the platter (private to fs_sim).
 *
 * Bytes live in a reserved stretch of address space that is made accessible page by page as the file grows,
 * so that a map never moves. Pages that were never written cost no memory: a preallocated WAL segment is
 * free. For every sector that was changed since the last sync the durable version is kept aside. Not thread
 * safe.
 */
#ifndef STORAGE_SIM_CONTENT_H
#define STORAGE_SIM_CONTENT_H

#include "base/bytes.h"
#include "base/rng.h"
#include "storage/fs_sim.h"

struct sim_sector;

struct sim_content {
    uint8_t *data;
    uint64_t reserved;     /* bytes of address space */
    uint64_t size;         /* as programs see it */
    uint64_t durable_size; /* as the disk has it */
    uint64_t accessible;   /* size rounded up to pages */
    uint8_t *touched;      /* one bit per page: may hold something else than zeros */
    struct sim_sector *unsynced;
    uint64_t writes; /* counts writes, to know which sectors were written together */
};

/* `reserved` is rounded up to pages. */
void sim_content_init(struct sim_content *content, uint64_t reserved);
void sim_content_deinit(struct sim_content *content);
void sim_content_copy(struct sim_content *to, const struct sim_content *from);

/* offset + size must fit in `reserved`. */
void sim_content_write(struct sim_content *content, const void *data, size_t size, uint64_t offset);
void sim_content_resize(struct sim_content *content, uint64_t size);
void sim_content_sync(struct sim_content *content);
/* A sync that failed: some sectors made it, the others are lost at the next crash and no later sync saves
 * them. */
void sim_content_sync_failed(struct sim_content *content, struct rng *rng);
void sim_content_crash(struct sim_content *content, enum fs_sim_crash_mode mode, struct rng *rng);
/* Turns bits of one byte inside the file, in every version of it. */
void sim_content_flip(struct sim_content *content, uint64_t offset, uint8_t bits);
uint64_t sim_content_unsynced(const struct sim_content *content);

#endif
