/* units: numbers as short text of bounded width.
 *
 * Every function returns its text by value: use `.text` within the same expression or keep the struct. A
 * value that is not known (NAN, negative where that makes no sense) is "?".
 */
#ifndef TUI_UNITS_H
#define TUI_UNITS_H

#include <stdint.h>

struct unit_text {
    char text[32];
};

/* At most 5 columns: "0", "7.2", "999", "1.2k", "312k", "1.2M". */
struct unit_text units_count(double value);
/* At most 5 columns, powers of 1024: "20K", "412M", "2.0G". */
struct unit_text units_bytes(double bytes);
/* At most 6 columns: "0.4ms", "12ms", "1.2s", "85us". */
struct unit_text units_seconds(double seconds);
/* "61%", at most 4 columns. */
struct unit_text units_percent(double fraction);
/* How long ago, nanoseconds: "0s", "41m", "3h", "9d". */
struct unit_text units_age(int64_t nanoseconds);
/* With thousands separated: "1,204,377". */
struct unit_text units_grouped(int64_t value);
/* Local wall clock time of day of nanoseconds since 1970: "12:04:31". */
struct unit_text units_clock(int64_t wall);

#endif
