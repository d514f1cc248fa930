#include "shell/present_lease.h"

#include "api/message.h"
#include "base/text.h"

/* Go's client wraps these responses in structs that show the header's members flat; as protobuf they are the
 * header alone. */
static void header_protobuf(struct print_target *target, const Etcdserverpb__ResponseHeader *header)
{
    if (header != NULL) message_pack(target->out, &header->base);
}

/* ---- grant ---- */

static void grant_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__LeaseGrantResponse *response = message;
    buf_printf(target->out, "lease %016llx granted with TTL(%llds)\n", (unsigned long long)response->id,
               (long long)response->ttl);
}

static void grant_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__LeaseGrantResponse *response = message;
    print_header_fields(target, response->header);
    print_field_lease(target, "ID", response->id);
    print_field_int(target, "TTL", response->ttl);
}

static void grant_json(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__LeaseGrantResponse *response = message;
    buf_append_byte(target->out, '{');
    print_header_json_members(target->out, response->header);
    buf_printf(target->out, "\"ID\":%lld,\"TTL\":%lld,\"Error\":", (long long)response->id,
               (long long)response->ttl);
    text_json_quote(target->out, bytes_from_string(response->error), true);
    buf_append_string(target->out, "}\n");
}

static void grant_protobuf(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    header_protobuf(target, ((const Etcdserverpb__LeaseGrantResponse *)message)->header);
}

const struct presentation present_lease_grant = {
    {grant_simple, grant_fields, grant_json, grant_protobuf, NULL}};

/* ---- revoke ---- */

static void revoke_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)message;
    const struct lease_detail *lease = detail;
    buf_printf(target->out, "lease %016llx revoked\n", (unsigned long long)lease->lease);
}

static void revoke_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    print_header_fields(target, ((const Etcdserverpb__LeaseRevokeResponse *)message)->header);
}

const struct presentation present_lease_revoke = {
    {revoke_simple, revoke_fields, print_message_json, print_message_protobuf, NULL},
};

/* ---- timetolive ---- */

static void time_to_live_simple(struct print_target *target, const void *message, const void *detail)
{
    const Etcdserverpb__LeaseTimeToLiveResponse *response = message;
    const struct lease_detail *lease = detail;
    if (response->ttl < 0 && response->grantedttl == 0) {
        buf_printf(target->out, "lease %016llx already expired\n", (unsigned long long)response->id);
        return;
    }
    buf_printf(target->out, "lease %016llx granted with TTL(%llds), remaining(%llds)",
               (unsigned long long)response->id, (long long)response->grantedttl, (long long)response->ttl);
    if (lease->keys) {
        buf_append_string(target->out, ", attached keys([");
        for (size_t i = 0; i < response->n_keys; i++) {
            if (i > 0) buf_append_byte(target->out, ' ');
            buf_append_bytes(target->out, message_bytes(response->keys[i]));
        }
        buf_append_string(target->out, "])");
    }
    buf_append_byte(target->out, '\n');
}

static void time_to_live_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__LeaseTimeToLiveResponse *response = message;
    print_header_fields(target, response->header);
    print_field_lease(target, "ID", response->id);
    print_field_int(target, "TTL", response->ttl);
    print_field_int(target, "GrantedTTL", response->grantedttl);
    for (size_t i = 0; i < response->n_keys; i++)
        print_field_quoted(target, "Key", message_bytes(response->keys[i]));
}

static void time_to_live_json(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__LeaseTimeToLiveResponse *response = message;
    struct buf *out = target->out;
    buf_append_byte(out, '{');
    print_header_json_members(out, response->header);
    buf_printf(out, "\"id\":%lld,\"ttl\":%lld,\"granted-ttl\":%lld,\"keys\":", (long long)response->id,
               (long long)response->ttl, (long long)response->grantedttl);
    buf_append_string(out, response->n_keys == 0 ? "null" : "[");
    for (size_t i = 0; i < response->n_keys; i++) {
        buf_append_string(out, i > 0 ? ",\"" : "\"");
        text_base64(out, message_bytes(response->keys[i]));
        buf_append_byte(out, '"');
    }
    buf_append_string(out, response->n_keys == 0 ? "}\n" : "]}\n");
}

static void time_to_live_protobuf(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    header_protobuf(target, ((const Etcdserverpb__LeaseTimeToLiveResponse *)message)->header);
}

const struct presentation present_lease_time_to_live = {
    {time_to_live_simple, time_to_live_fields, time_to_live_json, time_to_live_protobuf, NULL},
};

/* ---- list ---- */

static void list_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__LeaseLeasesResponse *response = message;
    buf_printf(target->out, "found %zu leases\n", response->n_leases);
    for (size_t i = 0; i < response->n_leases; i++)
        buf_printf(target->out, "%016llx\n", (unsigned long long)response->leases[i]->id);
}

static void list_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__LeaseLeasesResponse *response = message;
    print_header_fields(target, response->header);
    for (size_t i = 0; i < response->n_leases; i++) print_field_lease(target, "ID", response->leases[i]->id);
}

static void list_json(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__LeaseLeasesResponse *response = message;
    buf_append_byte(target->out, '{');
    print_header_json_members(target->out, response->header);
    buf_append_string(target->out, "\"leases\":[");
    for (size_t i = 0; i < response->n_leases; i++)
        buf_printf(target->out, "%s{\"id\":%lld}", i > 0 ? "," : "", (long long)response->leases[i]->id);
    buf_append_string(target->out, "]}\n");
}

static void list_protobuf(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    header_protobuf(target, ((const Etcdserverpb__LeaseLeasesResponse *)message)->header);
}

const struct presentation present_lease_list = {{list_simple, list_fields, list_json, list_protobuf, NULL}};

/* ---- keep-alive ---- */

static void keep_alive_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__LeaseKeepAliveResponse *response = message;
    buf_printf(target->out, "lease %016llx keepalived with TTL(%lld)\n", (unsigned long long)response->id,
               (long long)response->ttl);
}

static void keep_alive_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__LeaseKeepAliveResponse *response = message;
    print_header_fields(target, response->header);
    print_field_lease(target, "ID", response->id);
    print_field_int(target, "TTL", response->ttl);
}

static void keep_alive_json(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__LeaseKeepAliveResponse *response = message;
    buf_append_byte(target->out, '{');
    print_header_json_members(target->out, response->header);
    buf_printf(target->out, "\"ID\":%lld,\"TTL\":%lld}\n", (long long)response->id, (long long)response->ttl);
}

static void keep_alive_protobuf(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    header_protobuf(target, ((const Etcdserverpb__LeaseKeepAliveResponse *)message)->header);
}

const struct presentation present_lease_keep_alive = {
    {keep_alive_simple, keep_alive_fields, keep_alive_json, keep_alive_protobuf, NULL},
};
