#include "net/srv.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>

enum { ANSWER_MAX = 64 * 1024 };

static struct error *lookup_failed(const char *name)
{
    return error_new(h_errno == TRY_AGAIN ? ERROR_UNAVAILABLE : ERROR_NOT_FOUND, "lookup %s: %s", name,
                     h_errno == HOST_NOT_FOUND || h_errno == NO_DATA ? "no such host" : hstrerror(h_errno));
}

/* Priority, weight, port, target. */
static bool add_record(struct arena *arena, const ns_msg *message, const ns_rr *record,
                       struct srv_records *records)
{
    enum { WEIGHT_AT = 2, PORT_AT = 4, TARGET_AT = 6 };
    char target[NS_MAXDNAME];
    const unsigned char *data = ns_rr_rdata(*record);
    if (ns_rr_type(*record) != ns_t_srv || ns_rr_rdlen(*record) <= TARGET_AT) return true;
    if (dn_expand(ns_msg_base(*message), ns_msg_end(*message), data + TARGET_AT, target, sizeof(target)) < 0)
        return false;
    if (records->count == SRV_RECORDS_MAX) return true;
    records->items[records->count++] = (struct srv_record){
        .target = arena_printf(arena, "%s.", target),
        .priority = ns_get16(data),
        .weight = ns_get16(data + WEIGHT_AT),
        .port = ns_get16(data + PORT_AT),
    };
    return true;
}

struct error *srv_lookup(struct arena *arena, const char *name, struct srv_records *records)
{
    *records = (struct srv_records){.items = arena_alloc(arena, SRV_RECORDS_MAX * sizeof(*records->items))};
    unsigned char *answer = arena_alloc(arena, ANSWER_MAX);
    int size = res_query(name, ns_c_in, ns_t_srv, answer, ANSWER_MAX);
    if (size < 0) return lookup_failed(name);
    ns_msg message;
    if (ns_initparse(answer, size, &message) < 0)
        return error_new(ERROR_CORRUPT, "lookup %s: malformed answer", name);
    for (int i = 0; i < ns_msg_count(message, ns_s_an); i++) {
        ns_rr record;
        if (ns_parserr(&message, ns_s_an, i, &record) < 0 || !add_record(arena, &message, &record, records))
            return error_new(ERROR_CORRUPT, "lookup %s: malformed record", name);
    }
    return NULL;
}
