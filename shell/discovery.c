#include "shell/discovery.h"

#include "net/srv.h"

static struct error *lookup(struct arena *arena, const char *scheme, const char *service, const char *name,
                            const char *domain, struct discovery *found)
{
    struct srv_records records;
    TRY(srv_lookup(arena,
                   arena_printf(arena, "_%s%s%s._tcp.%s", service, name[0] != 0 ? "-" : "", name, domain),
                   &records));
    /* The final dot of a full name is kept, as etcdctl does. */
    for (size_t i = 0; i < records.count; i++)
        found->endpoints[found->count++] =
            arena_printf(arena, "%s://%s:%u", scheme, records.items[i].target, records.items[i].port);
    return NULL;
}

struct error *discovery_lookup(struct arena *arena, const char *domain, const char *service,
                               struct discovery *found)
{
    *found = (struct discovery){.endpoints = arena_alloc(arena, 2 * SRV_RECORDS_MAX * sizeof(const char *))};
    struct error *secure = lookup(arena, "https", "etcd-client-ssl", service, domain, found);
    struct error *plain = lookup(arena, "http", "etcd-client", service, domain, found);
    struct error *both = NULL;
    if (secure != NULL && plain != NULL)
        both = error_new(ERROR_NOT_FOUND, "dns lookup errors: %s and %s", secure->text, plain->text);
    error_free(secure);
    error_free(plain);
    return both;
}
