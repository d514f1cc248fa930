/* Completion in the interactive shell: commands, flags and their values, the shell's own commands, live keys.
 */
#include "shell/repl_internal.h"

#include "api/keys.h"
#include "api/message.h"
#include "base/memory.h"
#include "shell/txn_grammar.h"

#include <stdio.h>
#include <stdlib.h>

#include <readline/readline.h>

/* Nobody waits longer than this for a Tab. */
#define PATIENCE (INT64_C(500) * 1000000)

static struct repl *completing;

/* The words offered, in readline's form: [0] is what they have in common. */
struct offers {
    const char *text;
    char **matches;
    size_t count;
};

static void offer(struct offers *offers, const char *word)
{
    if (strncmp(word, offers->text, strlen(offers->text)) != 0 || offers->count == REPL_COMPLETIONS_MAX)
        return;
    offers->matches[1 + offers->count++] = mem_strdup(word);
}

static void offer_children(struct offers *offers, const struct command *command)
{
    for (size_t i = 0; command->children != NULL && command->children[i] != NULL; i++)
        offer(offers, command->children[i]->name);
}

static void offer_flags(struct offers *offers, const struct flag_set *flags)
{
    for (size_t i = 0; i < flags->count; i++) {
        char *name = mem_printf("--%s", flags->values[i].flag->name);
        offer(offers, name);
        free(name);
    }
}

static void offer_metas(struct offers *offers)
{
    for (size_t i = 0; repl_meta_name(i) != NULL; i++) offer(offers, repl_meta_name(i));
}

static void offer_choices(struct offers *offers, const char *choices, struct arena *arena)
{
    struct words words;
    if (!txn_split_words(bytes_from_string(choices), arena, &words)) return;
    for (size_t i = 0; i < words.count; i++) offer(offers, word_string(&words, i));
}

/* A key that can be typed as it is. */
static bool is_typeable(ProtobufCBinaryData key)
{
    for (size_t i = 0; i < key.len; i++)
        if (key.data[i] <= ' ' || key.data[i] == 0x7f || key.data[i] == '"' || key.data[i] == '\'')
            return false;
    return key.len > 0 && key.data[0] != '-';
}

static void offer_keys(struct offers *offers, struct arena *arena)
{
    struct bytes prefix = bytes_from_string(offers->text);
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = message_binary(prefix.size > 0 ? prefix : KEY_OPEN_END);
    request.range_end = message_binary(key_prefix_end(prefix, arena));
    request.keys_only = true;
    request.serializable = true;
    request.limit = REPL_COMPLETIONS_MAX;
    const struct client_call_options options = {.deadline = client_deadline_after(PATIENCE)};
    ProtobufCMessage *message;
    struct client_error *error =
        blocking_call(completing->shell->session, CLIENT_RANGE, &request.base, &options, arena, &message);
    client_error_free(error);
    if (error != NULL) return;
    const Etcdserverpb__RangeResponse *response = (const Etcdserverpb__RangeResponse *)message;
    for (size_t i = 0; i < response->n_kvs; i++)
        if (is_typeable(response->kvs[i]->key))
            offer(offers, arena_string(arena, message_bytes(response->kvs[i]->key)));
}

/* The flag whose value is being typed: the word before is `--flag` or `-f`. */
static const struct flag *open_flag(const struct flag_set *flags, const struct words *words)
{
    if (words->count == 0) return NULL;
    const char *last = word_string(words, words->count - 1);
    const struct flag_value *value = NULL;
    if (last[0] == '-' && last[1] == '-')
        value = flag_find(flags, last + 2);
    else if (last[0] == '-')
        value = flag_find_shorthand(flags, last[1]);
    return value != NULL && value->flag->type != FLAG_BOOL ? value->flag : NULL;
}

static void offer_for_command(struct offers *offers, const struct words *words, struct arena *arena)
{
    struct command_path path;
    struct words rest;
    struct bytes unknown;
    struct flag_set flags;
    if (!command_find(&command_root, words, arena, &path, &rest, &unknown)) return;
    command_flags(&path, arena, true, &flags);
    const struct flag *flag = open_flag(&flags, words);
    if (flag != NULL) {
        if (flag->choices != NULL) offer_choices(offers, flag->choices, arena);
    } else if (offers->text[0] == '-') {
        offer_flags(offers, &flags);
    } else if (command_of(&path)->children != NULL) {
        offer_children(offers, command_of(&path));
    } else if ((command_of(&path)->properties & COMMAND_TAKES_KEY) != 0) {
        offer_keys(offers, arena);
    }
}

/* What all offers start with. */
static char *common_start(const struct offers *offers)
{
    size_t size = strlen(offers->matches[1]);
    for (size_t i = 2; i <= offers->count; i++) {
        size_t same = 0;
        while (same < size && offers->matches[i][same] == offers->matches[1][same]) same++;
        size = same;
    }
    return mem_printf("%.*s", (int)size, offers->matches[1]);
}

static char **complete(const char *text, int start, int end)
{
    (void)end;
    struct arena *arena = arena_new();
    struct offers offers = {.text = text, .matches = mem_zalloc(REPL_COMPLETIONS_MAX + 2, sizeof(char *))};
    struct words words;
    rl_attempted_completion_over = 1;
    bool readable = txn_split_words(bytes_of(rl_line_buffer, (size_t)start), arena, &words);
    if (readable && words.count == 0) {
        if (text[0] == '\\')
            offer_metas(&offers);
        else
            offer_children(&offers, &command_root);
    } else if (readable && strcmp(word_string(&words, 0), "\\history") == 0) {
        offer_keys(&offers, arena);
    } else if (readable && strcmp(word_string(&words, 0), "\\format") == 0) {
        for (int i = 0; i < OUTPUT_FORMAT_COUNT; i++)
            offer(&offers, output_format_name((enum output_format)i));
    } else if (readable && word_string(&words, 0)[0] != '\\') {
        offer_for_command(&offers, &words, arena);
    }
    arena_free(arena);
    if (offers.count == 0) {
        free(offers.matches);
        return NULL;
    }
    offers.matches[0] = common_start(&offers);
    return offers.matches;
}

void repl_completion_install(struct repl *repl)
{
    completing = repl;
    rl_attempted_completion_function = complete;
    rl_completer_word_break_characters = " \t\n";
    rl_completer_quote_characters = "";
    rl_ignore_completion_duplicates = 1;
    /* One Tab shows what there is; a user's own inputrc may say otherwise. */
    rl_variable_bind("show-all-if-ambiguous", "on");
}
