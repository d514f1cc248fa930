/* text: the small text formats that etcd's programs share with Go.
 *
 * Go's %q, Go's durations, go-humanize sizes, hexadecimal and base64. One place for each, used by logs,
 * printers, flags and tests alike.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/buf.h"

/* Appends `bytes` as Go's %q does: quoted, \a\b\f\n\r\t\v\\\" escaped, other control bytes and bytes that are
 * not UTF-8 as \xNN, unprintable characters as \uNNNN or \UNNNNNNNN, printable Unicode kept. */
void text_go_quote(struct buf *out, struct bytes bytes);
/* Appends `bytes` as a JSON string with quotes. go_html: also escape <, >, & and U+2028/9 as encoding/json
 * does (zap does not). Bytes that are not UTF-8 become U+FFFD as in Go. */
void text_json_quote(struct buf *out, struct bytes bytes, bool go_html);
/* Reads one Go string literal ("..." with escapes or `...`) at the start of `text`; appends its value to
 * `out`. Returns how many bytes the literal took, 0 when it is malformed. */
size_t text_go_unquote(struct bytes text, struct buf *out);

/* Go's Duration.String of `nanoseconds`: "1m2.5s", "870.222µs", "0s". */
void text_go_duration(struct buf *out, int64_t nanoseconds);
/* Go's time.ParseDuration. False when malformed or out of range; `reason` (may be NULL) then gets Go's text,
 * such as `time: missing unit in duration "5"`. */
bool text_parse_go_duration(const char *text, int64_t *nanoseconds, struct buf *reason);

/* Nanoseconds since 1970 as etcd's log shows times: "2021-05-07T12:38:52.527567+0800", in local time. */
void text_local_time(struct buf *out, int64_t wall_nanoseconds);

/* go-humanize's Bytes: 20480 is "20 kB". */
void text_humanize_bytes(struct buf *out, uint64_t size);

/* Lower-case hex of every byte. */
void text_hex(struct buf *out, struct bytes bytes);
/* Standard base64 with padding. */
void text_base64(struct buf *out, struct bytes bytes);
/* Standard or URL-safe base64, padding optional. False when malformed. */
bool text_parse_base64(struct bytes text, struct buf *out);

/* Go's strconv.ParseInt / ParseUint: base 0 takes 0x, 0o, 0b, 0 prefixes and underscores. False when
 * malformed or out of range; `reason` (may be NULL) then gets Go's text: `strconv.ParseInt: parsing "abc":
 * invalid syntax`. */
bool text_parse_int64(const char *text, int base, int64_t *value, struct buf *reason);
bool text_parse_uint64(const char *text, int base, uint64_t *value, struct buf *reason);
/* Go's strconv.ParseBool. */
bool text_parse_bool(const char *text, bool *value, struct buf *reason);

/* The length of the UTF-8 character at the start of `text` and its code point; 0 when it is not valid UTF-8.
 */
size_t text_utf8_decode(struct bytes text, uint32_t *code_point);
bool text_is_utf8(struct bytes text);

#endif
