/* memory_backend: the node side of storage/backend.h in memory, for unit tests of what stands on it.
 *
 * Link it instead of libbackend.a. Writes are visible at once and nothing is ever committed; what the real
 * one promises about borrowed values and visiting is checked where it can be.
 */
#ifndef TESTS_MEMORY_BACKEND_H
#define TESTS_MEMORY_BACKEND_H

#include "storage/backend.h"

struct backend *memory_backend_new(void);
void memory_backend_free(struct backend *backend);
/* A copy of all rows: what a restart or a received snapshot finds. */
struct backend *memory_backend_copy(const struct backend *backend);

size_t memory_backend_rows(const struct backend *backend, enum backend_bucket bucket);
/* The value as a string for comparing with texts; NULL when there is no such row. Borrowed until the row
 * changes. */
const char *memory_backend_text(const struct backend *backend, enum backend_bucket bucket, const char *key);
/* From now on reads fail. */
void memory_backend_break(struct backend *backend);

#endif
