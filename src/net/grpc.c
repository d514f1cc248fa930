#include "net/grpc.h"

#include "base/text.h"

#include <stdio.h>

void grpc_percent_encode(struct buf *out, struct bytes text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte >= ' ' && byte <= '~' && byte != '%') {
            buf_append_byte(out, byte);
        } else {
            const char escape[3] = {'%', digits[byte >> 4], digits[byte & 15]};
            buf_append(out, escape, sizeof(escape));
        }
    }
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

void grpc_percent_decode(struct buf *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        int high = -1, low = -1;
        if (text.data[i] == '%' && text.size - i > 2) {
            high = hex_digit(text.data[i + 1]);
            low = hex_digit(text.data[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            buf_append_byte(out, (uint8_t)(high << 4 | low));
            i += 2;
        } else {
            buf_append_byte(out, text.data[i]);
        }
    }
}

static const struct {
    char unit;
    int64_t nanoseconds;
} timeout_units[] = {
    {'n', 1},
    {'u', 1000},
    {'m', 1000000},
    {'S', 1000000000},
    {'M', 60 * INT64_C(1000000000)},
    {'H', 3600 * INT64_C(1000000000)},
};
enum { TIMEOUT_UNITS = sizeof(timeout_units) / sizeof(timeout_units[0]), TIMEOUT_DIGITS = 8 };

bool grpc_timeout_parse(struct bytes text, int64_t *nanoseconds, struct buf *reason)
{
    if (text.size < 2) {
        buf_printf(reason, "transport: timeout string is too short: ");
        text_go_quote(reason, text);
        return false;
    }
    if (text.size > TIMEOUT_DIGITS + 1) {
        buf_printf(reason, "transport: timeout string is too long: ");
        text_go_quote(reason, text);
        return false;
    }
    int64_t unit = 0, value = 0;
    for (size_t i = 0; i < TIMEOUT_UNITS; i++) {
        if (timeout_units[i].unit == (char)text.data[text.size - 1]) unit = timeout_units[i].nanoseconds;
    }
    if (unit == 0) {
        buf_printf(reason, "transport: timeout unit is not recognized: ");
        text_go_quote(reason, text);
        return false;
    }
    for (size_t i = 0; i + 1 < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            buf_printf(reason, "strconv.ParseUint: parsing ");
            text_go_quote(reason, bytes_of(text.data, text.size - 1));
            buf_printf(reason, ": invalid syntax");
            return false;
        }
        value = value * 10 + (text.data[i] - '0');
    }
    *nanoseconds = value > INT64_MAX / unit ? INT64_MAX : value * unit;
    return true;
}

size_t grpc_timeout_format(char *out, int64_t nanoseconds)
{
    if (nanoseconds < 1) nanoseconds = 1;
    for (size_t i = 0; i < TIMEOUT_UNITS; i++) {
        /* Rounded up: the server must not give up before we do. */
        int64_t unit = timeout_units[i].nanoseconds;
        int64_t value = nanoseconds / unit + (nanoseconds % unit != 0);
        if (value < 100000000)
            return (size_t)snprintf(out, 16, "%lld%c", (long long)value, timeout_units[i].unit);
    }
    return (size_t)snprintf(out, 16, "99999999H");
}
