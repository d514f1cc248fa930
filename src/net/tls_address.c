/* Whether a client's certificate fits the address it comes from: etcd's check of its peers.
 *
 * A certificate without IP and DNS names fits everywhere. Else the address must be among the IP names, or a
 * name that DNS gives for the address must be among the DNS names (a "*.b" of which covers all of b), or one
 * of the DNS names must lead to the address. The resolver blocks, so it is asked on libuv's threads.
 */
#include "net/tls_internal.h"

#include "base/buf.h"
#include "base/memory.h"
#include "net/address.h"
#include "net/tls_names.h"

#include <assert.h>
#include <netdb.h>
#include <stdlib.h>

/* Names of one certificate that are looked up; a certificate with more has the rest ignored. */
enum { LOOKUPS_MAX = 32 };

struct tls_address_check {
    uv_work_t work;
    char *host; /* the address, without port */
    struct tls_names names;
    bool fits;
    bool canceled;
    void (*done)(void *context, struct error *error);
    void *context;
};

/* ---- on a thread of the pool ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static bool name_fits(const struct tls_names *names, char *name)
{
    size_t size = strlen(name);
    if (size > 0 && name[size - 1] == '.') name[size - 1] = '\0';
    for (size_t i = 0; i < names->dns_count; i++) {
        const char *dns = names->dns[i];
        if (strncmp(dns, "*.", 2) == 0 ? ends_with(name, dns + 1) : strcmp(name, dns) == 0) return true;
    }
    return false;
}

static bool is_known_as(const struct tls_address_check *check)
{
    struct sockaddr_storage address;
    socklen_t size;
    char name[NI_MAXHOST];
    if (!address_numeric(check->host, "0", &address, &size)) return false;
    if (getnameinfo((const struct sockaddr *)&address, size, name, sizeof(name), NULL, 0, NI_NAMEREQD) != 0)
        return false;
    return name_fits(&check->names, name);
}

static bool leads_to(const char *name, const char *host)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char text[NI_MAXHOST];
    bool fits = false;
    if (getaddrinfo(name, NULL, &hints, &found) != 0) return false;
    for (const struct addrinfo *one = found; one != NULL && !fits; one = one->ai_next)
        fits = getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) == 0 &&
               strcmp(text, host) == 0;
    freeaddrinfo(found);
    return fits;
}

static void look_up(uv_work_t *work)
{
    struct tls_address_check *check = work->data;
    check->fits = is_known_as(check);
    size_t count = check->names.dns_count < LOOKUPS_MAX ? check->names.dns_count : LOOKUPS_MAX;
    for (size_t i = 0; i < count && !check->fits; i++)
        if (strncmp(check->names.dns[i], "*.", 2) != 0)
            check->fits = leads_to(check->names.dns[i], check->host);
}

/* ---- on the loop ---- */

static void check_free(struct tls_address_check *check)
{
    tls_names_deinit(&check->names);
    free(check->host);
    free(check);
}

static struct error *does_not_match(const struct tls_address_check *check)
{
    struct buf names = {0};
    for (size_t i = 0; i < check->names.dns_count; i++)
        buf_printf(&names, "%s\"%s\"", i == 0 ? "" : " ", check->names.dns[i]);
    struct error *error = error_new(ERROR_INVALID, "tls: \"%s\" does not match any of DNSNames [%s]",
                                    check->host, buf_string(&names));
    buf_deinit(&names);
    return error;
}

static void on_looked_up(uv_work_t *work, int status)
{
    struct tls_address_check *check = work->data;
    struct error *error = status == 0 && check->fits ? NULL : does_not_match(check);
    if (check->canceled)
        error_free(error);
    else
        check->done(check->context, error);
    check_free(check);
}

bool tls_address_check(struct loop *loop, const X509 *certificate, const char *peer_address,
                       struct error **error, void (*done)(void *context, struct error *error), void *context,
                       struct tls_address_check **out)
{
    char *host = NULL, *port = NULL;
    *error = address_split(peer_address, &host, &port);
    if (*error != NULL) {
        /* A unix socket has no address; who may reach its path is the file system's business. */
        error_free(*error);
        *error = NULL;
        return true;
    }
    free(port);
    struct tls_address_check *check = mem_zalloc(1, sizeof(*check));
    check->host = host;
    tls_names_read(certificate, &check->names);
    struct error *mismatch = check->names.ip_count == 0 ? NULL : tls_names_check(certificate, host);
    bool fits = check->names.ip_count > 0 ? mismatch == NULL : check->names.dns_count == 0;
    if (fits || check->names.dns_count == 0) {
        *error = mismatch;
        check_free(check);
        return true;
    }
    error_free(mismatch);
    check->work.data = check;
    check->done = done;
    check->context = context;
    *out = check;
    int status = uv_queue_work(loop_uv(loop), &check->work, look_up, on_looked_up);
    assert(status == 0);
    (void)status;
    return false;
}

void tls_address_cancel(struct tls_address_check *check)
{
    check->canceled = true;
    uv_cancel((uv_req_t *)&check->work);
}
