/* json_reader: reads the JSON that Go programs store about members.
 *
 * Member ids use all 64 bits, which JSON libraries for C cannot hold, so these few small documents are read
 * token by token. As Go's decoder does: null leaves a field alone, unknown fields are skipped by the caller,
 * bytes that are not UTF-8 are kept.
 *
 *     json_enter(&reader, '{');
 *     while (json_next_key(&reader, &key)) ... read or skip exactly one value ...
 *     if (reader.failed) ...
 *
 * Once failed, every call returns false, so that checking at the end is enough.
 */
#ifndef CLUSTER_JSON_READER_H
#define CLUSTER_JSON_READER_H

#include "base/buf.h"

enum { JSON_DEPTH_MAX = 64 };

struct json_reader {
    struct bytes rest;
    unsigned depth;
    bool first; /* nothing was read of the innermost object or array yet */
    bool failed;
};

static inline struct json_reader json_reader_of(struct bytes text)
{
    return (struct json_reader){.rest = text};
}

/* Steps into an object ('{') or array ('['). False for null (skipped) and when it is something else (failed).
 */
bool json_enter(struct json_reader *reader, char open);
/* The next key of the object; its value is to be read next. False at the end of the object. */
bool json_next_key(struct json_reader *reader, struct buf *key);
/* Whether the array has one more item, which is to be read next. */
bool json_next_item(struct json_reader *reader);

/* Each reads one value. For null they return false, leave the result alone and do not fail. */
bool json_read_string(struct json_reader *reader, struct buf *value);
bool json_read_uint64(struct json_reader *reader, uint64_t *value);
bool json_read_int64(struct json_reader *reader, int64_t *value);
bool json_read_bool(struct json_reader *reader, bool *value);
void json_skip(struct json_reader *reader);
/* Nothing but white space may follow the document. */
bool json_at_end(struct json_reader *reader);

#endif
