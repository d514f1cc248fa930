/* list: intrusive doubly linked lists and sorted trees come from <sys/queue.h>; hash tables from <uthash.h>.
 *
 * This header only sets uthash's out-of-memory rule (ours: the process ends, see base/memory.h) and includes
 * both, so that every module sees the same configuration.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/memory.h"

#include <sys/queue.h>

#define uthash_malloc(size) mem_alloc(size)
#include <uthash.h>

#endif
