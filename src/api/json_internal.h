/* What the two halves of the JSON module share. */
#ifndef API_JSON_INTERNAL_H
#define API_JSON_INTERNAL_H

#include <protobuf-c/protobuf-c.h>

/* The name of a message's oneof in the .proto file, which protobuf-c's descriptors do not keep. The message
 * must have one. */
const char *json_oneof_name(const ProtobufCMessageDescriptor *descriptor);

#endif
