#include "config.h"

#include "tui/options.h"

#include "shell/help.h"

#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>

extern char **environ;

#define INTERVAL_LEAST INT64_C(100000000)
#define INTERVAL_MOST  INT64_C(3600000000000)

static const struct flag own_flags[] = {
    {"interval", 'd', FLAG_DURATION, "1s", "time between refreshes (100ms to 1h)", NULL},
    {"once", 0, FLAG_BOOL, "false", "print the overview once and end: exit 0 when healthy, 1 when not", NULL},
    {"output", 'o', FLAG_STRING, "text", "form of what --once prints (text, json)", "text json"},
    {"read-only", 0, FLAG_BOOL, "false", "nothing can be changed from here", NULL},
    {"ascii", 0, FLAG_BOOL, "false", "use no characters beyond ASCII", NULL},
    {"version", 0, FLAG_BOOL, "false", "print the version", NULL},
    {0},
};

static int mistake(const char *what)
{
    fprintf(stderr, "etcdtop: %s\nTry 'etcdtop --help'.\n", what);
    return OPTIONS_MISTAKE;
}

static void print_help(struct arena *arena)
{
    struct buf out = {0};
    buf_append_string(&out, "etcdtop - watch an etcd cluster\n\n"
                            "Usage: etcdtop [options]\n\nOptions:\n");
    for (const struct flag *flag = own_flags; flag->name != NULL; flag++) {
        char name[64];
        if (flag->shorthand != 0)
            snprintf(name, sizeof(name), "-%c, --%s", flag->shorthand, flag->name);
        else
            snprintf(name, sizeof(name), "    --%s", flag->name);
        buf_printf(&out, "  %-24s %s", name, flag->help);
        if (flag->type != FLAG_BOOL) buf_printf(&out, ", default %s", flag->initial);
        buf_append_byte(&out, '\n');
    }
    buf_append_string(&out, "\nAs in etcdctl, with the same ETCDCTL_ variables (-d is --interval here):\n");
    help_global_options(&out, arena);
    fwrite(out.data, 1, out.size, stdout);
    buf_deinit(&out);
}

/* The given global options once more as words; lists are comma separated again. */
static void keep_connection(struct options *options, const struct flag_set *flags)
{
    options->connection = arena_alloc(options->arena, (flags->count + 1) * sizeof(*options->connection));
    for (size_t i = 0; i < flags->count; i++) {
        const struct flag_value *value = &flags->values[i];
        if (!value->inherited || !value->changed) continue;
        struct buf text = {0};
        buf_printf(&text, "--%s=", value->flag->name);
        for (size_t k = 0; value->flag->type == FLAG_STRINGS && k < value->list_size; k++)
            buf_printf(&text, "%s%s", k > 0 ? "," : "", value->list[k]);
        if (value->flag->type != FLAG_STRINGS) flag_value_text(&text, value);
        options->connection[options->connection_count++] = arena_string(options->arena, buf_bytes(&text));
        buf_deinit(&text);
    }
}

static enum options_outcome take_values(struct options *options, const struct flag_set *flags)
{
    const char *output = flag_string(flags, "output");
    options->interval = flag_int(flags, "interval");
    options->once = flag_bool(flags, "once");
    options->json = strcmp(output, "json") == 0;
    options->read_only = flag_bool(flags, "read-only");
    options->ascii = flag_bool(flags, "ascii") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
    const char *no_colour = getenv("NO_COLOR");
    options->colour = no_colour == NULL || no_colour[0] == 0;
    if (options->interval < INTERVAL_LEAST || options->interval > INTERVAL_MOST)
        return mistake("--interval must be between 100ms and 1h");
    if (!options->json && strcmp(output, "text") != 0) return mistake("--output must be text or json");
    if (flag_changed(flags, "output") && !options->once) return mistake("--output goes with --once");
    return OPTIONS_RUN;
}

enum options_outcome options_read(struct options *options, int count, char **arguments)
{
    *options = (struct options){.arena = arena_new()};
    shell_init(&options->shell, shell_standard_streams(), environ);
    const struct flag *const inherited[] = {command_global_flags, NULL};
    struct invocation line = {.command = &command_root, .path = "etcdtop"};
    struct buf reason = {0};
    struct words words = words_from(options->arena, count - 1, arguments + 1);
    flag_set_init(&line.flags, options->shell.arena, own_flags, "etcdtop", inherited);
    enum options_outcome outcome = OPTIONS_DONE;
    enum flag_outcome parsed = flag_set_parse(&line.flags, &words, &line.words, &reason);
    if (parsed == FLAG_MISTAKE)
        outcome = mistake(buf_string(&reason));
    else if (parsed == FLAG_HELP)
        print_help(options->arena);
    else if (flag_bool(&line.flags, "version"))
        printf("etcdtop version: %s\nAPI version: %s\ncetcd release: %s\n", ETCD_VERSION, ETCD_API_LEVEL,
               PACKAGE_VERSION);
    else if (line.words.count > 0)
        outcome = mistake("it takes options only");
    else
        outcome = take_values(options, &line.flags);
    buf_deinit(&reason);
    if (outcome != OPTIONS_RUN) return outcome;
    keep_connection(options, &line.flags);
    if (shell_prepare(&options->shell, &line) != SHELL_OK) return OPTIONS_MISTAKE;
    options->client = options->shell.options;
    return OPTIONS_RUN;
}

void options_deinit(struct options *options)
{
    shell_deinit(&options->shell);
    arena_free(options->arena);
}
