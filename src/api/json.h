/* json: protobuf messages as JSON, along their descriptors.
 *
 * Two dialects:
 *
 *   JSON_GATEWAY  what etcd's HTTP gateway speaks (protobuf's JSON mapping with the .proto names): 64-bit
 *                 numbers as strings, enums by name, members of a oneof as plain fields. For input,
 *                 lowerCamelCase names are taken too.
 *   JSON_GO       what etcdctl -w json prints (Go's encoding/json over the generated structs): 64-bit numbers
 *                 bare, enums as numbers, <>& escaped. A oneof is wrapped as Go has it:
 *                 {"Response":{"response_put":{...}}}. Output only; commands whose printed shape differs from
 *                 the message write their own.
 *
 * Both: bytes in base64 with padding, fields with zero values left out, in order of declaration, no blanks.
 *
 * Input is read in two steps, as etcd's gateway does: json_scan() finds where a value ends and whether it is
 * JSON at all, json_parse() turns it into a message. Errors of both are worded as Go's encoding/json and
 * protojson word them, because clients get to see them.
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
 * oneof are errors. As in message_unpack_request, MESSAGE_REQUEST_FIELDS_MAX bounds the memory it takes. */
ProtobufCMessage *json_parse(const ProtobufCMessageDescriptor *descriptor, struct bytes text,
                             struct arena *arena, size_t *used, struct error **error)
    __attribute__((warn_unused_result));

/* ---- a stream of values, as its bytes come in ---- */

/* Arrays and objects in each other; Go stops at 10000, no message of etcd's goes beyond 100. */
enum { JSON_DEPTH_MAX = 1024 };

enum json_scan {
    JSON_SCAN_MORE,  /* everything taken, the value is not complete */
    JSON_SCAN_VALUE, /* a value ends here */
    JSON_SCAN_ERROR, /* no JSON; scanner->reason says why */
};

/* Zero-initialised it stands before a value. */
struct json_scanner {
    uint8_t state;
    bool at_key;                         /* the string is a key, or was one and the colon comes */
    uint8_t hex_left;                    /* digits of a \u escape */
    unsigned depth;                      /* open brackets */
    const char *word;                    /* of true, false and null: what has to follow */
    const char *whole;                   /* the word itself */
    uint8_t objects[JSON_DEPTH_MAX / 8]; /* which of the brackets are braces */
    char reason[96];
};

/* Takes bytes up to the end of a value, with the blanks in front of it; *used says how many. After
 * JSON_SCAN_VALUE the next call begins the next value; after JSON_SCAN_ERROR there must be none. Nothing is
 * kept of the bytes. */
enum json_scan json_scan(struct json_scanner *scanner, struct bytes text, size_t *used);
/* The bytes end here: JSON_SCAN_VALUE when that completes a value (a number), JSON_SCAN_MORE when there was
 * nothing but blanks since the last one. */
enum json_scan json_scan_end(struct json_scanner *scanner);

#endif
