#include "shell/discovery.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stddef.h>

enum {
    ANSWER_MAX = 64 * 1024,
    ENDPOINTS_MAX = 256,
};

static struct error *lookup_failed(const char *name)
{
    return error_new(h_errno == TRY_AGAIN ? ERROR_UNAVAILABLE : ERROR_NOT_FOUND, "lookup %s: %s", name,
                     h_errno == HOST_NOT_FOUND || h_errno == NO_DATA ? "no such host" : hstrerror(h_errno));
}

/* One SRV record: priority, weight, port, target. */
static bool add_record(struct arena *arena, const ns_msg *message, const ns_rr *record, const char *scheme,
                       struct discovery *found)
{
    enum { PORT_AT = 4, TARGET_AT = 6 };
    char target[NS_MAXDNAME];
    const unsigned char *data = ns_rr_rdata(*record);
    if (ns_rr_type(*record) != ns_t_srv || ns_rr_rdlen(*record) <= TARGET_AT) return true;
    if (dn_expand(ns_msg_base(*message), ns_msg_end(*message), data + TARGET_AT, target, sizeof(target)) < 0)
        return false;
    if (found->count == ENDPOINTS_MAX) return true;
    /* The final dot of a full name is kept, as etcdctl does. */
    found->endpoints[found->count++] =
        arena_printf(arena, "%s://%s.:%u", scheme, target, (unsigned)ns_get16(data + PORT_AT));
    return true;
}

static struct error *lookup(struct arena *arena, const char *scheme, const char *service, const char *name,
                            const char *domain, struct discovery *found)
{
    const char *full = arena_printf(arena, "_%s%s%s._tcp.%s", service, name[0] != 0 ? "-" : "", name, domain);
    unsigned char *answer = arena_alloc(arena, ANSWER_MAX);
    int size = res_query(full, ns_c_in, ns_t_srv, answer, ANSWER_MAX);
    if (size < 0) return lookup_failed(full);
    ns_msg message;
    if (ns_initparse(answer, size, &message) < 0)
        return error_new(ERROR_CORRUPT, "lookup %s: malformed answer", full);
    for (int i = 0; i < ns_msg_count(message, ns_s_an); i++) {
        ns_rr record;
        if (ns_parserr(&message, ns_s_an, i, &record) < 0 ||
            !add_record(arena, &message, &record, scheme, found))
            return error_new(ERROR_CORRUPT, "lookup %s: malformed record", full);
    }
    return NULL;
}

struct error *discovery_lookup(struct arena *arena, const char *domain, const char *service,
                               struct discovery *found)
{
    *found = (struct discovery){.endpoints = arena_alloc(arena, ENDPOINTS_MAX * sizeof(const char *))};
    struct error *secure = lookup(arena, "https", "etcd-client-ssl", service, domain, found);
    struct error *plain = lookup(arena, "http", "etcd-client", service, domain, found);
    struct error *both = NULL;
    if (secure != NULL && plain != NULL)
        both = error_new(ERROR_NOT_FOUND, "dns lookup errors: %s and %s", secure->text, plain->text);
    error_free(secure);
    error_free(plain);
    return both;
}
