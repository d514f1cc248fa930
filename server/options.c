/* Where values come from: flags, the environment, a file; and how they reach the fields. */
#include "server/options_internal.h"

#include "base/arena.h"
#include "base/memory.h"
#include "base/text.h"
#include "cluster/url.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>

enum { VARIABLE_MAX = 128, NOTES_MAX = 4096 };

const struct option *option_find(struct bytes name)
{
    for (size_t i = 0; i < option_count; i++)
        if (bytes_equal(name, bytes_from_string(option_table[i].name))) return &option_table[i];
    return NULL;
}

void options_note(struct options_parsed *parsed, struct options_note note)
{
    if (parsed->note_count == NOTES_MAX) return;
    parsed->notes = mem_realloc(parsed->notes, (parsed->note_count + 1) * sizeof(*parsed->notes));
    parsed->notes[parsed->note_count++] = note;
}

static void warn(struct options_parsed *parsed, const char *message)
{
    options_note(parsed, (struct options_note){.level = LOG_WARN, .message = message});
}

/* ---- values ---- */

static bool check_urls(const char *value, struct buf *reason)
{
    struct cluster_urls urls = {0};
    struct error *error = cluster_urls_parse(value, &urls);
    if (error != NULL) buf_append_string(reason, error->text);
    cluster_urls_deinit(&urls);
    bool ok = error == NULL;
    error_free(error);
    return ok;
}

static bool is_choice(const char *choices, const char *value)
{
    size_t size = strlen(value);
    while (*choices != '\0') {
        size_t length = strcspn(choices, "|");
        if (length == size && memcmp(choices, value, size) == 0) return true;
        choices += length + (choices[length] == '|');
    }
    return false;
}

static bool read_text(const struct option *option, const char *text, struct buf *reason)
{
    bool gates[OPTIONS_GATE_COUNT];
    switch (option->type) {
    case OPTION_URLS:
        return check_urls(text, reason);
    case OPTION_OPTIONAL_URLS:
        return *text == '\0' || check_urls(text, reason);
    case OPTION_ORIGINS:
        return *text == '\0' || strcmp(text, "*") == 0 || check_urls(text, reason);
    case OPTION_CHOICE:
        if (*text == '\0' && *option->initial == '\0') return true;
        if (is_choice(option->choices, text)) return true;
        buf_append_string(reason, "invalid value");
        return false;
    case OPTION_GATES:
        return options_gates_read(text, gates, NULL, reason);
    default:
        return true;
    }
}

bool option_read(const struct option *option, const char *text, union option_value *value, struct buf *reason)
{
    struct buf details = {0};
    bool ok = true;
    switch (option->type) {
    case OPTION_BOOL:
        ok = text_parse_bool(text, &value->boolean, &details);
        break;
    case OPTION_UINT:
    case OPTION_UINT32:
        ok = text_parse_uint64(text, 0, &value->unsigned_integer, &details);
        if (ok && option->type == OPTION_UINT32 && value->unsigned_integer > UINT32_MAX) {
            buf_append_string(&details, "value out of range");
            ok = false;
        }
        break;
    case OPTION_INT:
        ok = text_parse_int64(text, 0, &value->integer, &details);
        break;
    case OPTION_DURATION:
        ok = text_parse_go_duration(text, &value->integer, &details);
        break;
    default:
        value->string = text;
        ok = read_text(option, text, reason);
        break;
    }
    /* Go's flag package leaves strconv's prefix out. */
    if (!ok && reason->size == 0) {
        bool out_of_range = strstr(buf_string(&details), "value out of range") != NULL;
        buf_append_string(reason, out_of_range ? "value out of range" : "parse error");
    }
    buf_deinit(&details);
    return ok;
}

bool option_is_default(const struct option *option, const char *text)
{
    union option_value value = {0}, initial = {0};
    struct buf reason = {0};
    bool equal = strcmp(text, option->initial) == 0;
    if (!equal && option_read(option, text, &value, &reason) &&
        option_read(option, option->initial, &initial, &reason)) {
        if (option->type == OPTION_BOOL)
            equal = value.boolean == initial.boolean;
        else if (option->type >= OPTION_UINT)
            equal = value.unsigned_integer == initial.unsigned_integer;
    }
    buf_deinit(&reason);
    return equal;
}

static void store(struct options *options, const struct option *option, union option_value value)
{
    void *field = (char *)options + option->offset;
    switch (option->type) {
    case OPTION_BOOL:
        *(bool *)field = value.boolean;
        break;
    case OPTION_UINT:
    case OPTION_UINT32:
        *(uint64_t *)field = value.unsigned_integer;
        break;
    case OPTION_INT:
    case OPTION_DURATION:
        *(int64_t *)field = value.integer;
        break;
    default:
        *(const char **)field = value.string;
        break;
    }
}

void option_load(const struct options *options, const struct option *option, union option_value *value)
{
    const void *field = (const char *)options + option->offset;
    assert(option->use == OPTION_LIVE);
    switch (option->type) {
    case OPTION_BOOL:
        value->boolean = *(const bool *)field;
        break;
    case OPTION_UINT:
    case OPTION_UINT32:
        value->unsigned_integer = *(const uint64_t *)field;
        break;
    case OPTION_INT:
    case OPTION_DURATION:
        value->integer = *(const int64_t *)field;
        break;
    default:
        value->string = *(const char *const *)field;
        break;
    }
}

/* A renamed option is read as the present one. */
static const struct option *present_option(const struct option *option)
{
    if (option->use != OPTION_RENAMED) return option;
    const struct option *other = option_find(bytes_from_string(option->other));
    assert(other != NULL && other->use != OPTION_RENAMED);
    return other;
}

static bool stands_alone(const struct option *option)
{
    return present_option(option)->type == OPTION_BOOL || option->type == OPTION_ANYTHING;
}

static bool is_readable(const struct option *option, const char *text, struct buf *reason)
{
    union option_value value;
    return option_read(present_option(option), text, &value, reason);
}

/* ---- flags ---- */

static struct error *usage_error(struct option_parser *parser, struct error *error)
{
    parser->parsed->failure = OPTIONS_USAGE;
    return error;
}

static struct error *set_flag(struct option_parser *parser, const struct option *option, const char *text)
{
    struct buf reason = {0};
    struct error *error = NULL;
    if (!is_readable(option, text, &reason)) {
        struct buf quoted = {0};
        text_go_quote(&quoted, bytes_from_string(text));
        error = usage_error(parser, error_new(ERROR_INVALID, "invalid value %s for flag -%s: %s",
                                              buf_string(&quoted), option->name, buf_string(&reason)));
        buf_deinit(&quoted);
    }
    *option_given(parser, option) = (struct option_given){.text = text, .source = OPTION_FROM_FLAG};
    buf_deinit(&reason);
    return error;
}

static struct error *parse_flags(struct option_parser *parser, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || word[1] == '\0' || strcmp(word, "--") == 0) {
            bool is_end = strcmp(word, "--") == 0;
            if (is_end && i + 1 == argc) return NULL;
            return error_new(ERROR_INVALID, "\"%s\" is not a valid flag", is_end ? argv[i + 1] : word);
        }
        const char *name = word + (word[1] == '-' ? 2 : 1);
        const char *equals = strchr(name, '=');
        struct bytes key = bytes_of(name, equals == NULL ? strlen(name) : (size_t)(equals - name));
        if (key.size == 0 || *name == '-')
            return usage_error(parser, error_new(ERROR_INVALID, "bad flag syntax: %s", word));
        const struct option *option = option_find(key);
        if (option == NULL)
            return usage_error(parser, error_new(ERROR_INVALID, "flag provided but not defined: -%.*s",
                                                 (int)key.size, name));
        const char *text = equals == NULL ? NULL : equals + 1;
        if (text == NULL && stands_alone(option)) text = "true";
        if (text == NULL && i + 1 < argc) text = argv[++i];
        if (text == NULL)
            return usage_error(parser, error_new(ERROR_INVALID, "flag needs an argument: -%s", option->name));
        TRY(set_flag(parser, option, text));
    }
    return NULL;
}

/* ---- environment ---- */

static void variable_of(const struct option *option, char variable[VARIABLE_MAX])
{
    size_t length = 0;
    for (const char *at = "ETCD_"; *at != '\0'; at++) variable[length++] = *at;
    for (const char *at = option->name; *at != '\0' && length < VARIABLE_MAX - 1; at++)
        variable[length++] = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    variable[length] = '\0';
}

static const struct option *find_variable(const char *name)
{
    char variable[VARIABLE_MAX];
    for (size_t i = 0; i < option_count; i++) {
        variable_of(&option_table[i], variable);
        if (strcmp(name, variable) == 0) return &option_table[i];
    }
    return NULL;
}

static struct error *take_variable(struct option_parser *parser, const struct option *option,
                                   const char *name, const char *text)
{
    struct options_parsed *parsed = parser->parsed;
    if (option_given(parser, option)->source == OPTION_FROM_FLAG) {
        parsed->failure = OPTIONS_CONFLICT;
        parsed->conflict = name;
        return error_new(ERROR_INVALID, "conflicting environment variable is shadowed by corresponding "
                                        "command-line flag (either unset environment variable or disable "
                                        "flag))");
    }
    if (*text == '\0') return NULL;
    struct buf reason = {0};
    struct error *error = NULL;
    if (!is_readable(option, text, &reason))
        error = error_new(ERROR_INVALID, "invalid value \"%s\" for %s: %s", text, name, buf_string(&reason));
    buf_deinit(&reason);
    *option_given(parser, option) = (struct option_given){.text = text, .source = OPTION_FROM_ENVIRONMENT};
    options_note(parsed, (struct options_note){.level = LOG_INFO,
                                               .message = "recognized and used environment variable",
                                               .keys = {"variable-name", "variable-value"},
                                               .values = {name, option->is_secret ? "***" : text}});
    return error;
}

/* Variables that etcd itself or its test tools read, and that mean nothing here. */
static bool is_foreign_variable(const char *name)
{
    return strcmp(name, "ETCD_UNSUPPORTED_ARCH") == 0 || strcmp(name, "ETCD_VERIFY") == 0;
}

static struct error *parse_environment(struct option_parser *parser, char **environment)
{
    struct options_parsed *parsed = parser->parsed;
    for (; *environment != NULL; environment++) {
        const char *entry = *environment, *equals = strchr(entry, '=');
        if (strncmp(entry, "ETCD_", 5) != 0 || equals == NULL) continue;
        const char *name = arena_string(parsed->memory, bytes_of(entry, (size_t)(equals - entry)));
        const struct option *option = find_variable(name);
        if (is_foreign_variable(name)) continue;
        if (strcmp(name, "ETCD_VERSION") == 0)
            options_note(parsed, (struct options_note){.level = LOG_WARN,
                                                       .message = "cannot set special environment variable",
                                                       .keys = {"environment-variable"},
                                                       .values = {entry}});
        else if (option == NULL)
            options_note(parsed, (struct options_note){.level = LOG_WARN,
                                                       .message = "unrecognized environment variable",
                                                       .keys = {"environment-variable"},
                                                       .values = {entry}});
        else
            TRY(take_variable(parser, option, name, equals + 1));
    }
    return NULL;
}

/* ---- what earlier names mean ---- */

static struct error *take_renamed(struct option_parser *parser, const struct option *option)
{
    const struct option *other = present_option(option);
    if (option_given(parser, other)->source != OPTION_FROM_DEFAULT)
        return error_new(ERROR_INVALID, "cannot set --%s and --%s at the same time, please use --%s only",
                         option->name, other->name, other->name);
    warn(parser->parsed,
         arena_printf(parser->parsed->memory,
                      "--%s is deprecated in v3.6 and will be decommissioned in v3.7. Use '--%s' instead.",
                      option->name, other->name));
    *option_given(parser, other) = *option_given(parser, option);
    return NULL;
}

static struct error *take_gate(struct option_parser *parser, const struct option *option)
{
    bool gates[OPTIONS_GATE_COUNT], set[OPTIONS_GATE_COUNT] = {false};
    struct buf reason = {0};
    struct arena *memory = parser->parsed->memory;
    struct option_given *all = option_given(parser, option_find(BYTES_LITERAL("feature-gates")));
    bool ok = options_gates_read(all->text, gates, set, &reason);
    assert(ok); /* it was read before */
    buf_deinit(&reason);
    if (set[options_gate_find(bytes_from_string(option->other))] && all->source != OPTION_FROM_DEFAULT)
        return error_new(ERROR_INVALID,
                         "cannot set --%s and feature gate %s at the same time, please use --feature-gates "
                         "only",
                         option->name, option->other);
    warn(parser->parsed, arena_printf(memory,
                                      "--%s is deprecated in v3.6 and will be decommissioned in v3.7. Use "
                                      "'--feature-gates=%s=' instead.",
                                      option->name, option->other));
    const char *value = option_given(parser, option)->text;
    all->text = *all->text == '\0' ? arena_printf(memory, "%s=%s", option->other, value)
                                   : arena_printf(memory, "%s,%s=%s", all->text, option->other, value);
    return NULL;
}

static void take_implication(struct option_parser *parser, const struct option *option)
{
    union option_value value;
    struct buf reason = {0};
    const struct option *other = option_find(bytes_from_string(option->other));
    struct option_given *given = option_given(parser, other);
    bool ok = option_read(option, option_given(parser, option)->text, &value, &reason);
    buf_deinit(&reason);
    if (!ok || !value.boolean) return;
    warn(parser->parsed, arena_printf(parser->parsed->memory, "--%s is deprecated. Use '--%s=%s' instead.",
                                      option->name, option->other, option->text));
    if (given->source == OPTION_FROM_DEFAULT)
        *given = (struct option_given){.text = option->text, .source = option_given(parser, option)->source};
}

static struct error *take_earlier_names(struct option_parser *parser)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (parser->given[i].source == OPTION_FROM_DEFAULT) continue;
        if (option->use == OPTION_RENAMED) TRY(take_renamed(parser, option));
        if (option->use == OPTION_GATE) TRY(take_gate(parser, option));
        if (option->use == OPTION_IMPLIES) take_implication(parser, option);
        if (option->use == OPTION_WITHOUT_EFFECT && option->text != NULL &&
            !option_is_default(option, parser->given[i].text))
            warn(parser->parsed, option->text);
    }
    return NULL;
}

/* ---- all together ---- */

/* Sets every field from what was given, which was read before and so can be read. */
static void set_fields(struct option_parser *parser)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        union option_value value = {0};
        struct buf reason = {0};
        if (option->use != OPTION_LIVE) continue;
        if (option->offset == offsetof(struct options, help)) continue; /* two rows, one field */
        bool ok = option_read(option, parser->given[i].text, &value, &reason);
        /* A word out of a file may be none of the choices; options_complete says so. */
        assert(ok || option->type == OPTION_CHOICE);
        store(&parser->parsed->options, option, value);
        buf_deinit(&reason);
    }
}

/* For the start-up log, which shows options without a field, too. */
static void keep_texts(struct option_parser *parser)
{
    const char **texts = arena_alloc(parser->parsed->memory, option_count * sizeof(*texts));
    for (size_t i = 0; i < option_count; i++) texts[i] = parser->given[i].text;
    parser->parsed->options.texts = texts;
}

static bool was_asked(struct option_parser *parser, const char *name)
{
    const struct option_given *given = option_given(parser, option_find(bytes_from_string(name)));
    bool asked = false;
    return given->source == OPTION_FROM_FLAG && text_parse_bool(given->text, &asked, NULL) && asked;
}

static const char *file_named(struct option_parser *parser, char **environment)
{
    const struct option_given *given = option_given(parser, option_find(BYTES_LITERAL("config-file")));
    if (given->source == OPTION_FROM_FLAG && *given->text != '\0') return given->text;
    for (; *environment != NULL; environment++)
        if (strncmp(*environment, "ETCD_CONFIG_FILE=", 17) == 0 && (*environment)[17] != '\0')
            return *environment + 17;
    return NULL;
}

static void forget_given(struct option_parser *parser)
{
    for (size_t i = 0; i < option_count; i++)
        parser->given[i] = (struct option_given){
            .text = present_option(&option_table[i])->initial,
            .source = OPTION_FROM_DEFAULT,
        };
}

static struct error *read_file(struct option_parser *parser, const char *path)
{
    forget_given(parser);
    options_note(parser->parsed,
                 (struct options_note){.level = LOG_INFO,
                                       .message = "loaded server configuration, other configuration command "
                                                  "line flags and environment variables will be ignored if "
                                                  "provided",
                                       .keys = {"path"},
                                       .values = {path}});
    TRY(options_read_file(parser, path));
    option_given(parser, option_find(BYTES_LITERAL("config-file")))->text = path;
    return NULL;
}

static struct error *check_advertised(struct option_parser *parser, bool from_file)
{
    const struct option_given *listen =
        option_given(parser, option_find(BYTES_LITERAL("listen-client-urls")));
    const struct option_given *advertise =
        option_given(parser, option_find(BYTES_LITERAL("advertise-client-urls")));
    if (listen->source == OPTION_FROM_DEFAULT || advertise->source != OPTION_FROM_DEFAULT) return NULL;
    if (from_file) {
        warn(parser->parsed, "listen-client-urls is set and advertise-client-urls is not: clients are told "
                             "the default address");
        return NULL;
    }
    parser->parsed->failure = OPTIONS_ADVERTISE_URLS_UNSET;
    return error_new(ERROR_INVALID,
                     "--advertise-client-urls is required when --listen-client-urls is set explicitly");
}

/* What this release lacks. */
static struct error *check_refused(struct option_parser *parser)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (option->use == OPTION_REFUSED && !option_is_default(option, parser->given[i].text))
            return error_new(ERROR_INVALID, "--%s=%s: %s", option->name, parser->given[i].text, option->text);
    }
    return NULL;
}

static struct error *parse(struct option_parser *parser, int argc, char **argv, char **environment)
{
    struct options *options = &parser->parsed->options;
    TRY(parse_flags(parser, argc, argv));
    if (was_asked(parser, "version")) options->version = true;
    if (was_asked(parser, "help") || was_asked(parser, "h")) options->help = true;
    if (options->version || options->help) return NULL;
    const char *path = file_named(parser, environment);
    if (path == NULL)
        TRY(parse_environment(parser, environment));
    else
        TRY(read_file(parser, path));
    TRY(take_earlier_names(parser));
    set_fields(parser);
    keep_texts(parser);
    TRY(check_refused(parser));
    return check_advertised(parser, path != NULL);
}

struct error *options_parse(int argc, char **argv, char **environment, struct options_parsed *parsed)
{
    *parsed = (struct options_parsed){.memory = arena_new()};
    struct option_parser parser = {
        .parsed = parsed,
        .given = mem_zalloc(option_count, sizeof(struct option_given)),
    };
    forget_given(&parser);
    set_fields(&parser);
    struct error *error = parse(&parser, argc, argv, environment);
    free(parser.given);
    return error;
}

void options_deinit(struct options_parsed *parsed)
{
    free(parsed->notes);
    arena_free(parsed->memory);
    *parsed = (struct options_parsed){0};
}
