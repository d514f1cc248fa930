#include "shell/endpoints.h"

const char *endpoints_error_text(struct shell *shell, struct client_error *error)
{
    struct buf text = {0};
    client_error_format(&text, error);
    const char *copy = arena_string(shell->arena, buf_bytes(&text));
    buf_deinit(&text);
    client_error_free(error);
    return copy;
}

static int read_cluster(struct shell *shell, const struct invocation *line, struct endpoint_list *list)
{
    int status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    request.linearizable = true;
    ProtobufCMessage *message;
    struct client_error *error =
        shell_call(shell, CLIENT_MEMBER_LIST, &request.base, SHELL_BOUNDED, NULL, &message);
    if (error != NULL)
        return shell_fail(shell, SHELL_FAILED, "failed to fetch endpoints from etcd cluster member list: %s",
                          endpoints_error_text(shell, error));
    const Etcdserverpb__MemberListResponse *members = (const Etcdserverpb__MemberListResponse *)message;
    size_t count = 0;
    for (size_t i = 0; i < members->n_members; i++) count += members->members[i]->n_clienturls;
    const char **items = arena_alloc(shell->arena, (count + 1) * sizeof(*items));
    count = 0;
    for (size_t i = 0; i < members->n_members; i++)
        for (size_t j = 0; j < members->members[i]->n_clienturls; j++)
            items[count++] = members->members[i]->clienturls[j];
    *list = (struct endpoint_list){items, count};
    return SHELL_OK;
}

int endpoints_read(struct shell *shell, const struct invocation *line, struct endpoint_list *list)
{
    if (flag_bool(&line->flags, "cluster")) return read_cluster(shell, line, list);
    int status = shell_prepare(shell, line);
    if (status != SHELL_OK) return status;
    const struct flag_value *typed = flag_find(&line->flags, "endpoints");
    *list = (struct endpoint_list){typed->list, typed->list_size};
    /* What DNS told replaces what was typed. */
    if (flag_string(&line->flags, "discovery-srv")[0] != 0)
        *list = (struct endpoint_list){shell->options.endpoints, shell->options.endpoint_count};
    return SHELL_OK;
}
