/* The interactive shell's own commands: lines that start with a backslash. */
#include "shell/repl_internal.h"

#include "api/message.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

static void help(struct repl *repl, const struct words *words);

/* ---- Switches ---- */

static void toggle(const char *name, bool *value, const struct words *words)
{
    const char *word = words->count > 1 ? word_string(words, 1) : "";
    if (strcmp(word, "on") == 0)
        *value = true;
    else if (strcmp(word, "off") == 0)
        *value = false;
    else
        *value = !*value;
    printf("%s %s\n", name, *value ? "on" : "off");
}

static void set_timing(struct repl *repl, const struct words *words)
{
    toggle("timing", &repl->timing, words);
}

static void set_pager(struct repl *repl, const struct words *words)
{
    toggle("pager", &repl->pager, words);
}

static void set_format(struct repl *repl, const struct words *words)
{
    enum output_format format;
    struct buf reason = {0};
    if (words->count > 1 && !output_format_parse(word_string(words, 1), &format))
        fputs("Error: there are the formats simple fields json protobuf table\n", stderr);
    else if (words->count > 1)
        shell_set_option(repl->shell, "write-out", word_string(words, 1), &reason);
    printf("format %s\n", flag_string(&repl->shell->session_flags, "write-out"));
    buf_deinit(&reason);
}

/* ---- Endpoints ---- */

static void list_endpoints(struct repl *repl)
{
    struct blocking_client *client = repl->shell->session;
    for (size_t i = 0; i < blocking_endpoint_count(client); i++) printf("%s\n", blocking_endpoint(client, i));
}

static void set_endpoints(struct repl *repl, const struct words *words)
{
    if (words->count < 2) {
        list_endpoints(repl);
        return;
    }
    struct words options = {0};
    for (size_t i = 0; i < repl->options.count; i++) words_add(&options, repl->arena, repl->options.items[i]);
    /* The first --endpoints of a line replaces the default, later ones append: what was given before has to
     * go. */
    struct words kept = {0};
    for (size_t i = 0; i < options.count; i++) {
        const char *word = word_string(&options, i);
        if (strcmp(word, "--endpoints") == 0)
            i++;
        else if (strncmp(word, "--endpoints=", 12) != 0)
            words_add(&kept, repl->arena, options.items[i]);
    }
    const char *option = arena_printf(repl->arena, "--endpoints=%s", word_string(words, 1));
    words_add(&kept, repl->arena, bytes_from_string(option));
    repl_watch_stop_all(repl);
    if (shell_connect(repl->shell, &kept) == SHELL_OK) repl->options = kept;
    list_endpoints(repl);
}

/* ---- The history of a key ---- */

static const Mvccpb__KeyValue *key_at(struct repl *repl, struct bytes key, int64_t revision,
                                      struct arena *arena, struct client_error **error)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = message_binary(key);
    request.revision = revision;
    const struct client_call_options options = {
        .deadline = client_deadline_after(flag_int(&repl->shell->session_flags, "command-timeout"))};
    ProtobufCMessage *message;
    *error = blocking_call(repl->shell->session, CLIENT_RANGE, &request.base, &options, arena, &message);
    if (*error != NULL) return NULL;
    const Etcdserverpb__RangeResponse *response = (const Etcdserverpb__RangeResponse *)message;
    return response->n_kvs > 0 ? response->kvs[0] : NULL;
}

static void show_revision(struct repl *repl, const Mvccpb__KeyValue *kv, const Mvccpb__KeyValue *before)
{
    enum { WIDTH = 40 };
    struct buf line = {0};
    buf_append_string(&line, "rev ");
    repl_format_number(&line, kv->mod_revision);
    buf_printf(&line, "  version %lld   ", (long long)kv->version);
    if (before != NULL) {
        repl_format_value(repl, &line, message_bytes(before->value), WIDTH);
        buf_append_string(&line, repl->utf8 ? " → " : " -> ");
    }
    repl_format_value(repl, &line, message_bytes(kv->value), WIDTH);
    printf("%s\n", buf_string(&line));
    buf_deinit(&line);
}

static void show_history(struct repl *repl, const struct words *words)
{
    if (words->count != 2) {
        fputs("Error: \\history needs a key\n", stderr);
        return;
    }
    struct arena *arena = arena_new();
    struct bytes key = words->items[1];
    struct client_error *error;
    const Mvccpb__KeyValue *kv = key_at(repl, key, 0, arena, &error);
    if (kv == NULL && error == NULL) puts("the key does not exist now");
    for (int i = 0; kv != NULL && i < REPL_REVISIONS_MAX; i++) {
        const Mvccpb__KeyValue *before =
            kv->version > 1 ? key_at(repl, key, kv->mod_revision - 1, arena, &error) : NULL;
        show_revision(repl, kv, before);
        kv = before;
    }
    if (client_error_is(error, API_ERROR_COMPACTED))
        puts("(what was before has been compacted)");
    else if (error != NULL) {
        struct buf text = {0};
        client_error_format(&text, error);
        fprintf(stderr, "Error: %s\n", buf_string(&text));
        buf_deinit(&text);
    }
    client_error_free(error);
    arena_free(arena);
}

/* ---- Others ---- */

static void list_watches(struct repl *repl, const struct words *words)
{
    (void)words;
    repl_watch_list(repl);
}

static void stop_watch(struct repl *repl, const struct words *words)
{
    uint64_t number = 0;
    if (words->count != 2 || !text_parse_uint64(word_string(words, 1), 10, &number, NULL) ||
        number > UINT32_MAX)
        fputs("Error: \\unwatch needs the number of a watch\n", stderr);
    else
        repl_watch_stop(repl, (unsigned)number);
}

static void quit(struct repl *repl, const struct words *words)
{
    (void)words;
    repl->quits = true;
}

static const struct meta {
    const char *name;
    const char *arguments;
    const char *summary;
    void (*run)(struct repl *repl, const struct words *words);
} metas[] = {
    {"\\?", "", "this list; help lists etcdctl's commands", help},
    {"\\timing", "[on|off]", "show how long each command took", set_timing},
    {"\\format", "[simple|fields|json|protobuf|table]", "output format of the commands", set_format},
    {"\\pager", "[on|off]", "long output goes through $PAGER", set_pager},
    {"\\endpoints", "[LIST]", "show or change where commands go", set_endpoints},
    {"\\history", "KEY", "a key's earlier values", show_history},
    {"\\watches", "", "watches in the background (started by: watch ... &)", list_watches},
    {"\\unwatch", "N", "end one of them", stop_watch},
    {"\\q", "", "leave (also Ctrl-D)", quit},
};

static void help(struct repl *repl, const struct words *words)
{
    (void)repl;
    (void)words;
    for (size_t i = 0; i < sizeof(metas) / sizeof(metas[0]); i++)
        printf("%-11s %-37s %s\n", metas[i].name, metas[i].arguments, metas[i].summary);
}

const char *repl_meta_name(size_t index)
{
    return index < sizeof(metas) / sizeof(metas[0]) ? metas[index].name : NULL;
}

void repl_meta(struct repl *repl, const struct words *words)
{
    const struct meta *found = NULL;
    const char *name = word_string(words, 0);
    size_t matches = 0;
    for (size_t i = 0; i < sizeof(metas) / sizeof(metas[0]); i++) {
        if (strncmp(metas[i].name, name, strlen(name)) != 0 || name[1] == 0) continue;
        found = &metas[i];
        matches++;
    }
    if (matches == 1)
        found->run(repl, words);
    else
        fprintf(stderr, "Error: there is no %s; \\? lists what there is\n", name);
    fflush(stdout);
}
