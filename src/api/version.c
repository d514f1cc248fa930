#include "api/version.h"

/* A run of decimal digits without a leading zero (unless it is "0"), at most nine of them. */
static bool take_number(struct bytes *rest, uint32_t *number)
{
    size_t digits = 0;
    uint32_t value = 0;
    while (digits < rest->size && rest->data[digits] >= '0' && rest->data[digits] <= '9') {
        if (digits == 9) return false;
        value = value * 10 + (uint32_t)(rest->data[digits] - '0');
        digits++;
    }
    if (digits == 0 || (digits > 1 && rest->data[0] == '0')) return false;
    *number = value;
    *rest = bytes_of(rest->data + digits, rest->size - digits);
    return true;
}

static bool take_byte(struct bytes *rest, uint8_t byte)
{
    if (rest->size == 0 || rest->data[0] != byte) return false;
    *rest = bytes_of(rest->data + 1, rest->size - 1);
    return true;
}

/* Dot-separated identifiers of letters, digits and hyphens, as after '-' and '+'. */
static bool take_identifiers(struct bytes *rest)
{
    size_t size = 0;
    bool empty = true;
    while (size < rest->size && rest->data[size] != '+') {
        uint8_t byte = rest->data[size];
        bool dot = byte == '.';
        bool word = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
                    (byte >= 'a' && byte <= 'z') || byte == '-';
        if (!word && (!dot || empty)) return false;
        empty = dot;
        size++;
    }
    *rest = bytes_of(rest->data + size, rest->size - size);
    return !empty;
}

bool version_parse(struct bytes text, struct version *version)
{
    struct version parsed = {0};
    struct bytes rest = text;
    if (!take_number(&rest, &parsed.major) || !take_byte(&rest, '.')) return false;
    if (!take_number(&rest, &parsed.minor) || !take_byte(&rest, '.')) return false;
    if (!take_number(&rest, &parsed.patch)) return false;
    if (take_byte(&rest, '-')) {
        if (!take_identifiers(&rest)) return false;
        parsed.prerelease = true;
    }
    if (take_byte(&rest, '+') && !take_identifiers(&rest)) return false;
    if (rest.size != 0) return false;
    *version = parsed;
    return true;
}

bool version_parse_target(struct bytes text, struct version *version)
{
    struct version parsed = {0};
    struct bytes rest = text;
    if (version_parse(text, version)) return true;
    if (!take_number(&rest, &parsed.major) || !take_byte(&rest, '.')) return false;
    if (!take_number(&rest, &parsed.minor) || rest.size != 0) return false;
    *version = parsed;
    return true;
}

static int compare(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

int version_compare_minor(struct version a, struct version b)
{
    int order = compare(a.major, b.major);
    return order != 0 ? order : compare(a.minor, b.minor);
}

int version_compare(struct version a, struct version b)
{
    int order = version_compare_minor(a, b);
    if (order == 0) order = compare(a.patch, b.patch);
    if (order == 0) order = (int)b.prerelease - (int)a.prerelease;
    return order;
}

void version_format(struct buf *out, struct version version)
{
    buf_printf(out, "%u.%u.%u", version.major, version.minor, version.patch);
}

void version_format_minor(struct buf *out, struct version version)
{
    buf_printf(out, "%u.%u", version.major, version.minor);
}
