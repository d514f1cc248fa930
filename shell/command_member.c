/* member list, add, remove, update, promote. */
#include "base/text.h"
#include "shell/commands.h"
#include "shell/present_cluster.h"
#include "shell/shell.h"

#include <strings.h>

enum { PEER_URLS_MAX = 64 };

/* ---- URLs ---- */

/* Whether HOST:PORT is what stands in `authority`, as Go's SplitHostPort has it. */
static bool has_host_and_port(struct bytes authority)
{
    size_t colons = 0, last = 0;
    bool bracketed = authority.size > 0 && authority.data[0] == '[';
    const uint8_t *close = bracketed ? memchr(authority.data, ']', authority.size) : NULL;
    if (bracketed && close == NULL) return false;
    size_t from = bracketed ? (size_t)(close - authority.data) + 1 : 0;
    for (size_t i = from; i < authority.size; i++) {
        if (authority.data[i] != ':') continue;
        colons++;
        last = i;
    }
    return colons == 1 && (!bracketed || last == from);
}

/* What is wrong with a peer URL; NULL when nothing is. */
static const char *url_mistake(const char *url)
{
    static const char *const networks[] = {"http://", "https://"}, *const sockets[] = {"unix:", "unixs:"};
    for (size_t i = 0; i < 2; i++)
        if (strncasecmp(url, sockets[i], strlen(sockets[i])) == 0) return NULL;
    for (size_t i = 0; i < 2; i++) {
        size_t scheme = strlen(networks[i]);
        if (strncasecmp(url, networks[i], scheme) != 0) continue;
        size_t authority = strcspn(url + scheme, "/?#");
        if (!has_host_and_port(bytes_of(url + scheme, authority)))
            return "URL address does not have the form \"host:port\"";
        return url[scheme + authority] == '/' ? "URL must not contain a path" : NULL;
    }
    return "URL scheme must be http, https, unix, or unixs";
}

struct peer_urls {
    char *items[PEER_URLS_MAX];
    size_t count;
};

/* Splits --peer-urls; SHELL_OK, or an exit code after the error was printed. */
static int split_peer_urls(struct shell *shell, const char *text, struct peer_urls *urls)
{
    urls->count = 0;
    for (const char *at = text;; at++) {
        size_t size = strcspn(at, ",");
        if (urls->count == PEER_URLS_MAX)
            return shell_fail(shell, SHELL_BAD_ARGUMENTS, "more than %d peer urls", PEER_URLS_MAX);
        urls->items[urls->count++] = arena_string(shell->arena, bytes_of(at, size));
        at += size;
        if (*at == 0) return SHELL_OK;
    }
}

static int check_peer_urls(struct shell *shell, const struct peer_urls *urls)
{
    for (size_t i = 0; i < urls->count; i++) {
        const char *mistake = url_mistake(urls->items[i]);
        if (mistake != NULL) return shell_fail(shell, SHELL_FAILED, "%s: %s", mistake, urls->items[i]);
    }
    return SHELL_OK;
}

/* ---- list ---- */

static const struct flag list_flags[] = {
    {"consistency", 0, FLAG_STRING, "l", "linearizable (l) or serializable (s)", "l s"},
    {0},
};

static int run_list(struct shell *shell, const struct invocation *line)
{
    const char *consistency = flag_string(&line->flags, "consistency");
    if (strcmp(consistency, "l") != 0 && strcmp(consistency, "s") != 0)
        return shell_fail(shell, SHELL_BAD_FEATURE, "unknown consistency flag \"%s\"", consistency);
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    request.linearizable = strcmp(consistency, "l") == 0;
    return shell_call_and_show(shell, line, CLIENT_MEMBER_LIST, &request.base, SHELL_BOUNDED,
                               &present_member_list, NULL);
}

/* ---- add ---- */

static const struct flag add_flags[] = {
    {"peer-urls", 0, FLAG_STRING, "", "where the new member's peers reach it, comma separated", NULL},
    {"learner", 0, FLAG_BOOL, "false", "the new member only learns, without a vote", NULL},
    {0},
};

static int refuse_extra_words(struct shell *shell, const struct words *words)
{
    struct buf text = {0};
    buf_append_string(&text, "too many arguments");
    for (size_t i = 0; i < words->count; i++)
        if (strncasecmp(word_string(words, i), "http", 4) == 0)
            buf_printf(&text, ", did you mean --peer-urls=%s", word_string(words, i));
    shell_fail(shell, SHELL_BAD_ARGUMENTS, "%s", buf_string(&text));
    buf_deinit(&text);
    return SHELL_BAD_ARGUMENTS;
}

static int run_add(struct shell *shell, const struct invocation *line)
{
    if (line->words.count == 0) return shell_fail(shell, SHELL_BAD_ARGUMENTS, "member name not provided");
    if (line->words.count > 1) return refuse_extra_words(shell, &line->words);
    const char *typed = flag_string(&line->flags, "peer-urls");
    if (typed[0] == 0) return shell_fail(shell, SHELL_BAD_ARGUMENTS, "member peer urls not provided");
    struct peer_urls urls;
    int status = split_peer_urls(shell, typed, &urls);
    if (status == SHELL_OK) status = shell_open(shell, line);
    if (status == SHELL_OK) status = check_peer_urls(shell, &urls);
    if (status != SHELL_OK) return status;
    Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    request.n_peerurls = urls.count;
    request.peerurls = urls.items;
    request.islearner = flag_bool(&line->flags, "learner");
    const struct member_detail detail = {.name = word_string(&line->words, 0), .peer_urls = typed};
    return shell_call_and_show(shell, line, CLIENT_MEMBER_ADD, &request.base, SHELL_BOUNDED,
                               &present_member_add, &detail);
}

/* ---- The others name a member by its id ---- */

static int read_id(struct shell *shell, const struct invocation *line, uint64_t *id)
{
    if (line->words.count != 1) return shell_fail(shell, SHELL_BAD_ARGUMENTS, "member ID is not provided");
    struct buf reason = {0};
    int status = SHELL_OK;
    if (!text_parse_uint64(word_string(&line->words, 0), 16, id, &reason))
        status = shell_fail(shell, SHELL_BAD_ARGUMENTS, "bad member ID arg (%s), expecting ID in Hex",
                            buf_string(&reason));
    buf_deinit(&reason);
    return status;
}

static int run_remove(struct shell *shell, const struct invocation *line)
{
    Etcdserverpb__MemberRemoveRequest request = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    int status = read_id(shell, line, &request.id);
    if (status != SHELL_OK) return status;
    if (!shell_confirm(shell, "Remove member %llx from the cluster?", (unsigned long long)request.id))
        return SHELL_OK;
    const struct member_detail detail = {.id = request.id};
    return shell_call_and_show(shell, line, CLIENT_MEMBER_REMOVE, &request.base, SHELL_BOUNDED,
                               &present_member_remove, &detail);
}

static const struct flag update_flags[] = {
    {"peer-urls", 0, FLAG_STRING, "", "where the member's peers reach it, comma separated", NULL},
    {0},
};

static int run_update(struct shell *shell, const struct invocation *line)
{
    Etcdserverpb__MemberUpdateRequest request = ETCDSERVERPB__MEMBER_UPDATE_REQUEST__INIT;
    int status = read_id(shell, line, &request.id);
    if (status != SHELL_OK) return status;
    const char *typed = flag_string(&line->flags, "peer-urls");
    if (typed[0] == 0) return shell_fail(shell, SHELL_BAD_ARGUMENTS, "member peer urls not provided");
    struct peer_urls urls;
    status = split_peer_urls(shell, typed, &urls);
    if (status == SHELL_OK) status = shell_open(shell, line);
    if (status == SHELL_OK) status = check_peer_urls(shell, &urls);
    if (status != SHELL_OK) return status;
    request.n_peerurls = urls.count;
    request.peerurls = urls.items;
    const struct member_detail detail = {.id = request.id};
    return shell_call_and_show(shell, line, CLIENT_MEMBER_UPDATE, &request.base, SHELL_BOUNDED,
                               &present_member_update, &detail);
}

static int run_promote(struct shell *shell, const struct invocation *line)
{
    Etcdserverpb__MemberPromoteRequest request = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
    int status = read_id(shell, line, &request.id);
    if (status != SHELL_OK) return status;
    const struct member_detail detail = {.id = request.id};
    return shell_call_and_show(shell, line, CLIENT_MEMBER_PROMOTE, &request.base, SHELL_BOUNDED,
                               &present_member_promote, &detail);
}

static const struct command member_add = {.name = "add",
                                          .usage = "<memberName> [options]",
                                          .summary = "Adds a member into the cluster",
                                          .flags = add_flags,
                                          .run = run_add};
static const struct command member_remove = {.name = "remove",
                                             .usage = "<memberID>",
                                             .summary = "Removes a member from the cluster",
                                             .run = run_remove};
static const struct command member_update = {.name = "update",
                                             .usage = "<memberID> [options]",
                                             .summary = "Updates a member in the cluster",
                                             .flags = update_flags,
                                             .run = run_update};
static const struct command member_list = {.name = "list",
                                           .usage = "",
                                           .summary = "Lists all members in the cluster",
                                           .flags = list_flags,
                                           .run = run_list};
static const struct command member_promote = {.name = "promote",
                                              .usage = "<memberID>",
                                              .summary = "Promotes a non-voting member in the cluster",
                                              .run = run_promote};

static const struct command *const member_children[] = {
    &member_add, &member_remove, &member_update, &member_list, &member_promote, NULL,
};

const struct command command_member = {
    .name = "member",
    .usage = "<subcommand>",
    .summary = "Membership related commands",
    .children = member_children,
};
