/* json: protobuf messages as JSON, along their descriptors.
 *
 * Two dialects:
 *
 *   JSON_GATEWAY  what etcd's HTTP gateway speaks (protobuf's JSON mapping with the .proto names): 64-bit
 * numbers as strings, enums by name, members of a oneof as plain fields. For input, lowerCamelCase names are
 * taken too. JSON_GO       what etcdctl -w json prints (Go's encoding/json over the generated structs):
 * 64-bit numbers bare, enums as numbers, <>& escaped. A oneof is wrapped as Go has it:
 * {"Response":{"response_put":{...}}}. Output only; commands whose printed shape differs from the message
 * write their own.
 *
 * Both: bytes in base64 with padding, fields with zero values left out, in order of declaration, no blanks.
 */
#ifndef API_JSON_H
#define API_JSON_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

#include <protobuf-c/protobuf-c.h>

enum json_dialect {
    JSON_GATEWAY,
    JSON_GO,
};

/* Appends the message as one JSON object. */
void json_write(struct buf *out, const ProtobufCMessage *message, enum json_dialect dialect);

/* Appends the members of that object without its braces ("" when all are zero), for printers that put members
 * of their own beside them. Returns whether something was written. */
bool json_write_members(struct buf *out, const ProtobufCMessage *message, enum json_dialect dialect);

/* Parses one JSON object in the gateway dialect into a message in `arena`. *used (may be NULL) is how many
 * bytes it took: what follows is not looked at, so that a stream of objects can be read one by one. Empty (or
 * only blanks) input is an empty message. NULL with *error (may be NULL) set when it is not acceptable; the
 * text is what the gateway answers with code InvalidArgument. Numbers: strings or numbers, also 1e0; bytes:
 * standard or URL-safe base64, padding optional; enums by name or number, unknown names ignored; unknown
 * fields ignored; null leaves a field unset; a field given twice (in either spelling) and two members of a
 * oneof are errors. */
ProtobufCMessage *json_parse(const ProtobufCMessageDescriptor *descriptor, struct bytes text,
                             struct arena *arena, size_t *used, struct error **error)
    __attribute__((warn_unused_result));

/* Cuts a stream of JSON values without parsing them: the size of the first value in `text` with its leading
 * blanks, 0 when it is not complete yet. Brackets and quotes are counted, nothing else is checked. */
size_t json_value_size(struct bytes text);

#endif
