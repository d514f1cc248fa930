/* url: the addresses of members, as etcd accepts and orders them.
 *
 * http and https addresses are scheme://host:port without a path; unix and unixs ones name a socket. Lists
 * are sorted as texts. Pure: nothing is resolved here.
 */
#ifndef CLUSTER_URL_H
#define CLUSTER_URL_H

#include "base/buf.h"
#include "base/error.h"

/* A list of texts that it owns. Zero-initialised is empty and valid. */
struct cluster_urls {
    char **items;
    size_t count;
};

void cluster_urls_deinit(struct cluster_urls *urls);
void cluster_urls_append(struct cluster_urls *urls, struct bytes url);
/* `to` must be initialised; what it held is released. */
void cluster_urls_copy(struct cluster_urls *to, const struct cluster_urls *from);
void cluster_urls_sort(struct cluster_urls *urls);
bool cluster_urls_equal(const struct cluster_urls *a, const struct cluster_urls *b);
bool cluster_urls_contain(const struct cluster_urls *urls, const char *url);
/* Appends them with commas in between. */
void cluster_urls_join(struct buf *out, const struct cluster_urls *urls);

/* What one address is made of; borrowed from the text. */
struct cluster_url {
    struct bytes scheme;
    struct bytes host; /* for unix: empty, or what stands between // and the path */
    struct bytes port;
    struct bytes path;
};
enum { CLUSTER_URL_MAX = 4096 }; /* longer ones are refused */

/* ERROR_INVALID with etcd's text: `URL must not contain a path: http://a:1/x`. */
struct error *cluster_url_parse(struct bytes text, struct cluster_url *url)
    __attribute__((warn_unused_result));
/* Checks every one (trimmed), appends them to `urls` and sorts it. An empty list is refused. */
struct error *cluster_urls_check(const char *const *texts, size_t count, struct cluster_urls *urls)
    __attribute__((warn_unused_result));
/* The same for a list separated by commas, as in a flag. */
struct error *cluster_urls_parse(const char *list, struct cluster_urls *urls)
    __attribute__((warn_unused_result));
/* For listening: the host must be an IP address or `localhost`, else `expected IP in URL for binding (URL)`.
 */
struct error *cluster_url_check_bind(const char *url) __attribute__((warn_unused_result));

#endif
