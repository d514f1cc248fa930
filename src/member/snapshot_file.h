/* snapshot_file: a backend saved by `snapshot save`, as a file by itself.
 *
 * A bolt file of whole pages; behind it, when it came from a server, 32 bytes: the SHA-256 of all before.
 * That it is there shows in the size, which is 32 more than a multiple of 512. The `db` of a data directory
 * is such a file without it.
 */
#ifndef MEMBER_SNAPSHOT_FILE_H
#define MEMBER_SNAPSHOT_FILE_H

#include "base/error.h"
#include "storage/fs.h"

enum { SNAPSHOT_DIGEST_SIZE = 32 };

struct snapshot_status {
    uint32_t hash;    /* CRC-32C of every bucket's name, keys and values, in order */
    int64_t revision; /* of the last row */
    uint64_t keys;    /* that are alive */
    uint64_t size;    /* bytes of all pages */
    char version[32]; /* of the storage, "" up to 3.5 */
};

/* Proves the file sound and tells what is in it. Only reads. */
struct error *snapshot_file_status(struct fs *fs, const char *path, struct snapshot_status *status)
    __attribute__((warn_unused_result));

/* Copies the pages to `to` (made, synced), and compares the digest. With `skip_digest` it need not be there
 * nor match; then the copy is proved sound page by page. An error names what is wrong; `to` may be there in
 * part. */
struct error *snapshot_file_copy(struct fs *fs, const char *from, const char *to, bool skip_digest)
    __attribute__((warn_unused_result));

#endif
