/* crc32c: the Castagnoli checksum of WAL records, .snap files and HashKV.
 *
 * crc32c(0, "") is 0 and crc32c(crc32c(0, a), b) is crc32c(0, ab). Uses the processor's instruction where it
 * has one.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t previous, const void *data, size_t size);

#endif
