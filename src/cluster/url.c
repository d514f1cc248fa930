#include "cluster/url.h"

#include "base/memory.h"
#include "base/text.h"

#include <assert.h>
#include <stdlib.h>

/* ---- lists ---- */

void cluster_urls_deinit(struct cluster_urls *urls)
{
    for (size_t i = 0; i < urls->count; i++) free(urls->items[i]);
    free(urls->items);
    *urls = (struct cluster_urls){0};
}

void cluster_urls_append(struct cluster_urls *urls, struct bytes url)
{
    char *copy = mem_alloc(url.size + 1);
    if (url.size > 0) memcpy(copy, url.data, url.size);
    copy[url.size] = '\0';
    urls->items = mem_realloc(urls->items, (urls->count + 1) * sizeof(urls->items[0]));
    urls->items[urls->count++] = copy;
}

void cluster_urls_copy(struct cluster_urls *to, const struct cluster_urls *from)
{
    struct cluster_urls copy = {0};
    for (size_t i = 0; i < from->count; i++) cluster_urls_append(&copy, bytes_from_string(from->items[i]));
    cluster_urls_deinit(to);
    *to = copy;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void cluster_urls_sort(struct cluster_urls *urls)
{
    if (urls->count > 1) qsort(urls->items, urls->count, sizeof(urls->items[0]), compare_texts);
}

bool cluster_urls_equal(const struct cluster_urls *a, const struct cluster_urls *b)
{
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0) return false;
    return true;
}

bool cluster_urls_contain(const struct cluster_urls *urls, const char *url)
{
    for (size_t i = 0; i < urls->count; i++)
        if (strcmp(urls->items[i], url) == 0) return true;
    return false;
}

void cluster_urls_join(struct buf *out, const struct cluster_urls *urls)
{
    for (size_t i = 0; i < urls->count; i++) {
        if (i > 0) buf_append_byte(out, ',');
        buf_append_string(out, urls->items[i]);
    }
}

/* ---- one address ---- */

static struct error *refuse_parse(struct bytes text, const char *why)
{
    struct buf quoted = {0};
    text_go_quote(&quoted, text);
    struct error *error = error_new(ERROR_INVALID, "parse %s: %s", buf_string(&quoted), why);
    buf_deinit(&quoted);
    return error;
}

static struct error *refuse_part(struct bytes text, const char *what, struct bytes part, const char *where)
{
    struct buf why = {0};
    buf_append_string(&why, what);
    text_go_quote(&why, part);
    buf_append_string(&why, where);
    struct error *error = refuse_parse(text, buf_string(&why));
    buf_deinit(&why);
    return error;
}

static size_t find(struct bytes text, char c)
{
    const uint8_t *found = text.size == 0 ? NULL : memchr(text.data, c, text.size);
    return found == NULL ? text.size : (size_t)(found - text.data);
}

static struct bytes cut(struct bytes text, size_t from)
{
    return bytes_of(text.data + from, text.size - from);
}

static bool is_letter(uint8_t c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* The scheme in front of the first colon; empty when there is none. */
static struct error *split_scheme(struct bytes text, struct bytes *scheme, struct bytes *rest)
{
    *scheme = BYTES_EMPTY;
    *rest = text;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (is_letter(c)) continue;
        if (c == ':') {
            if (i == 0) return refuse_parse(text, "missing protocol scheme");
            *scheme = bytes_of(text.data, i);
            *rest = cut(text, i + 1);
            return NULL;
        }
        bool may_follow = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
        if (!may_follow || i == 0) break;
    }
    struct bytes segment = bytes_of(text.data, find(text, '/'));
    if (find(segment, ':') < segment.size)
        return refuse_parse(text, "first path segment in URL cannot contain colon");
    return NULL;
}

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static struct error *check_escapes(struct bytes text, struct bytes part)
{
    for (size_t i = 0; i < part.size; i++) {
        if (part.data[i] == ' ' || part.data[i] == '<' || part.data[i] == '>' || part.data[i] == '"')
            return refuse_part(text, "invalid character ", bytes_of(part.data + i, 1), " in host name");
        if (part.data[i] != '%') continue;
        if (i + 2 < part.size && is_hex(part.data[i + 1]) && is_hex(part.data[i + 2])) continue;
        struct bytes escape = bytes_of(part.data + i, part.size - i < 3 ? part.size - i : 3);
        return refuse_part(text, "invalid URL escape ", escape, "");
    }
    return NULL;
}

/* host:port; *has_port false when there is no colon. An IPv6 address stands in brackets. */
static struct error *split_port(struct bytes text, struct bytes host_port, struct cluster_url *url,
                                bool *has_port)
{
    size_t colon;
    if (host_port.size > 0 && host_port.data[0] == '[') {
        size_t bracket = find(host_port, ']');
        if (bracket == host_port.size) return refuse_parse(text, "missing ']' in host");
        url->host = bytes_of(host_port.data + 1, bracket - 1);
        colon = bracket + 1;
        if (colon < host_port.size && host_port.data[colon] != ':')
            return refuse_part(text, "invalid port ", cut(host_port, colon), " after host");
    } else {
        colon = find(host_port, ':');
        url->host = bytes_of(host_port.data, colon);
        /* Go takes what stands behind the last colon for the port. */
        for (size_t i = colon; i + 1 < host_port.size; i++)
            if (host_port.data[i + 1] == ':') colon = i + 1;
        if (colon != url->host.size) {
            *has_port = false;
            return NULL;
        }
    }
    *has_port = colon < host_port.size;
    if (!*has_port) return NULL;
    url->port = cut(host_port, colon + 1);
    for (size_t i = 0; i < url->port.size; i++)
        if (url->port.data[i] < '0' || url->port.data[i] > '9')
            return refuse_part(text, "invalid port ", cut(host_port, colon), " after host");
    return NULL;
}

static struct bytes trim(struct bytes text)
{
    while (text.size > 0 && strchr(" \t\n\v\f\r", text.data[0]) != NULL && text.data[0] != 0)
        text = cut(text, 1);
    while (text.size > 0 && text.data[text.size - 1] != 0 &&
           strchr(" \t\n\v\f\r", text.data[text.size - 1]) != NULL)
        text.size--;
    return text;
}

static bool scheme_is(struct bytes scheme, const char *name)
{
    return bytes_equal(scheme, bytes_from_string(name));
}

static struct error *refuse(struct bytes text, const char *why)
{
    return error_new(ERROR_INVALID, "%s: %.*s", why, (int)text.size, (const char *)text.data);
}

struct error *cluster_url_parse(struct bytes given, struct cluster_url *url)
{
    struct bytes text = trim(given), rest;
    *url = (struct cluster_url){.scheme = BYTES_EMPTY};
    if (text.size > CLUSTER_URL_MAX)
        return error_new(ERROR_INVALID, "URL of %zu bytes is too long (more than %d)", text.size,
                         (int)CLUSTER_URL_MAX);
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < 0x20 || text.data[i] == 0x7f)
            return refuse_parse(text, "net/url: invalid control character in URL");
    TRY(split_scheme(text, &url->scheme, &rest));

    bool has_port = false;
    size_t end = find(rest, '#');
    if (find(rest, '?') < end) end = find(rest, '?');
    rest.size = end;
    if (bytes_starts_with(rest, BYTES_LITERAL("//"))) {
        rest = cut(rest, 2);
        struct bytes authority = bytes_of(rest.data, find(rest, '/'));
        rest = cut(rest, authority.size);
        size_t at = find(authority, '@');
        if (at < authority.size) authority = cut(authority, at + 1);
        TRY(split_port(text, authority, url, &has_port));
        TRY(check_escapes(text, authority));
    }
    url->path = rest;
    if (scheme_is(url->scheme, "unix") || scheme_is(url->scheme, "unixs")) return NULL;
    if (!scheme_is(url->scheme, "http") && !scheme_is(url->scheme, "https"))
        return refuse(text, "URL scheme must be http, https, unix, or unixs");
    if (!has_port) return refuse(text, "URL address does not have the form \"host:port\"");
    if (url->path.size > 0) return refuse(text, "URL must not contain a path");
    return NULL;
}

/* ---- checking lists ---- */

struct error *cluster_urls_check(const char *const *texts, size_t count, struct cluster_urls *urls)
{
    if (count == 0) return error_new(ERROR_INVALID, "no valid URLs given");
    struct cluster_urls checked = {0};
    struct error *error = NULL;
    for (size_t i = 0; i < count && error == NULL; i++) {
        struct cluster_url url;
        struct bytes text = trim(bytes_from_string(texts[i]));
        error = cluster_url_parse(text, &url);
        if (error == NULL) cluster_urls_append(&checked, text);
    }
    if (error == NULL) {
        for (size_t i = 0; i < checked.count; i++)
            cluster_urls_append(urls, bytes_from_string(checked.items[i]));
        cluster_urls_sort(urls);
    }
    cluster_urls_deinit(&checked);
    return error;
}

struct error *cluster_urls_parse(const char *list, struct cluster_urls *urls)
{
    struct cluster_urls texts = {0};
    struct bytes rest = bytes_from_string(list);
    for (;;) {
        size_t comma = find(rest, ',');
        cluster_urls_append(&texts, bytes_of(rest.data, comma));
        if (comma == rest.size) break;
        rest = cut(rest, comma + 1);
    }
    struct error *error = cluster_urls_check((const char *const *)texts.items, texts.count, urls);
    cluster_urls_deinit(&texts);
    return error;
}

/* ---- listening ---- */

static bool is_ipv4(struct bytes host)
{
    unsigned parts = 0;
    for (size_t i = 0; i < host.size; parts++) {
        unsigned value = 0;
        size_t digits = 0;
        for (; i < host.size && host.data[i] >= '0' && host.data[i] <= '9' && digits < 4; i++, digits++)
            value = value * 10 + (unsigned)(host.data[i] - '0');
        if (digits == 0 || digits > 3 || value > 255) return false;
        if (i == host.size) return parts == 3;
        if (host.data[i++] != '.') return false;
    }
    return false;
}

/* Groups of hex digits, one run of zeros left out, perhaps an IPv4 address at the end, perhaps a zone. */
static bool is_ipv6(struct bytes host)
{
    host.size = find(host, '%');
    unsigned groups = 0;
    bool left_out = false;
    size_t i = 0;
    while (i < host.size) {
        if (host.data[i] == ':') {
            bool twice = i + 1 < host.size && host.data[i + 1] == ':';
            if (twice && left_out) return false;
            if (!twice && (i == 0 || i + 1 == host.size)) return false;
            left_out = left_out || twice;
            i += twice ? 2 : 1;
            if (i < host.size && host.data[i] == ':') return false;
            continue;
        }
        if (is_ipv4(cut(host, i))) {
            groups += 2;
            break;
        }
        size_t digits = 0;
        while (i < host.size && is_hex(host.data[i])) i++, digits++;
        if (digits == 0 || digits > 4 || (i < host.size && host.data[i] != ':')) return false;
        groups++;
    }
    return left_out ? groups < 8 : groups == 8;
}

struct error *cluster_url_check_bind(const char *text)
{
    struct cluster_url url;
    TRY(cluster_url_parse(bytes_from_string(text), &url));
    if (bytes_starts_with(url.scheme, BYTES_LITERAL("unix"))) return NULL;
    if (bytes_equal(url.host, BYTES_LITERAL("localhost")) || is_ipv4(url.host) || is_ipv6(url.host))
        return NULL;
    return error_new(ERROR_INVALID, "expected IP in URL for binding (%s)", text);
}
