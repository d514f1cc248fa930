/* describe: requests as text for the log, without the values in them.
 *
 * protobuf's compact text form: `key:"foo" value_size:3`, nested messages as `put:<key:"foo" value_size:3 >`.
 * Fields with zero values are left out. A value may be a secret and may be long: of fields named value,
 * password or token, only the size is told.
 */
#ifndef API_DESCRIBE_H
#define API_DESCRIBE_H

#include "base/buf.h"

#include <protobuf-c/protobuf-c.h>

/* Texts end, with "...", soon after this many bytes. */
enum { DESCRIBE_LIMIT = 4096 };

/* Appends the text; "" for an empty message. */
void message_describe(struct buf *out, const ProtobufCMessage *message);

#endif
