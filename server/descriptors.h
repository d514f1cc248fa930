/* descriptors: the file descriptors of this process, of which each connection takes one. Any thread. */
#ifndef SERVER_DESCRIPTORS_H
#define SERVER_DESCRIPTORS_H

#include "base/log.h"

#include <stdint.h>

/* Open ones; counting takes about a millisecond for every few thousand. */
uint64_t descriptors_used(void);
/* As many as there may be; UINT64_MAX: any number. */
uint64_t descriptors_limit(void);
/* Raises the limit as far as the system lets us. */
void descriptors_raise_limit(void);
/* Warns when four fifths of them are used, by etcd's count. */
void descriptors_check(const struct logger *logger);

#endif
