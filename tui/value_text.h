/* value_text: a value as lines for people: JSON indented, other text as it is, anything else in hex. */
#ifndef TUI_VALUE_TEXT_H
#define TUI_VALUE_TEXT_H

#include "base/buf.h"

enum value_form { VALUE_EMPTY, VALUE_JSON, VALUE_TEXT, VALUE_BINARY };

enum { VALUE_TEXT_SHOWN_MAX = 256 * 1024 }; /* bytes of a value that are shown */

/* "JSON" ... */
const char *value_form_name(enum value_form form);
enum value_form value_form_of(struct bytes value);
/* Appends the lines, each with "\n". `columns` bounds the hex dump. */
enum value_form value_format(struct bytes value, int columns, struct buf *out);
/* The value on one line: quoted as Go does unless it is plain text that fits a prompt. */
void value_format_line(struct bytes value, struct buf *out);
/* Reads what value_format_line made, after editing: a text that begins with '"' is a Go literal. False when
 * it is malformed. */
bool value_parse_line(struct bytes line, struct buf *value);

#endif
