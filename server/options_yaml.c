/* The configuration file: YAML, hence also JSON, whose keys are the options' names.
 *
 * Some options stand in blocks (client-transport-security: {cert-file: ...}); a row of the table says so by
 * its path. null keeps the default; keys compare without case; the last of equal ones wins; keys that no row
 * knows are warned about with their line. Numbers and booleans must not be quoted, as in etcd; texts may be
 * written without quotes whatever they look like. */
#include "server/options_internal.h"

#include "base/arena.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <yaml.h>

enum { DEPTH_MAX = 8, FILE_MAX = 4 << 20 };

struct file {
    struct option_parser *parser;
    struct arena *memory;
    const char *path;
    yaml_document_t document;
};

static struct error *wrong(const struct file *file, const yaml_node_t *node, const char *key,
                           const char *what)
{
    return error_new(ERROR_INVALID, "%s:%zu: %s: %s", file->path, node->start_mark.line + 1, key, what);
}

static struct error *wrong_value(const struct file *file, const yaml_node_t *node, const char *key,
                                 const char *text, const char *reason)
{
    return wrong(file, node, key, arena_printf(file->memory, "invalid value \"%s\": %s", text, reason));
}

static const char *scalar(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

static bool is_plain(const yaml_node_t *node)
{
    return node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_null(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || !is_plain(node)) return false;
    const char *text = scalar(node);
    return *text == '\0' || strcmp(text, "~") == 0 || strcasecmp(text, "null") == 0;
}

/* ---- values ---- */

static const char *bool_word(const char *text)
{
    static const char *const words[][2] = {{"true", "true"},   {"yes", "true"}, {"on", "true"},
                                           {"false", "false"}, {"no", "false"}, {"off", "false"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasecmp(text, words[i][0]) == 0) return words[i][1];
    return NULL;
}

/* Nanoseconds as a bare integer, or Go's text. */
static const char *duration_text(struct file *file, const char *text)
{
    int64_t nanoseconds;
    if (text_parse_int64(text, 10, &nanoseconds, NULL))
        return arena_printf(file->memory, "%lldns", (long long)nanoseconds);
    return text;
}

static struct error *join_list(struct file *file, const char *key, const yaml_node_t *node, const char **text)
{
    struct buf joined = {0};
    struct error *error = NULL;
    for (const yaml_node_item_t *item = node->data.sequence.items.start;
         error == NULL && item < node->data.sequence.items.top; item++) {
        const yaml_node_t *element = yaml_document_get_node(&file->document, *item);
        if (element == NULL || element->type != YAML_SCALAR_NODE) {
            error = wrong(file, node, key, "a list of texts is expected");
            continue;
        }
        buf_printf(&joined, "%s%s", joined.size == 0 ? "" : ",", scalar(element));
    }
    *text = arena_string(file->memory, buf_bytes(&joined));
    buf_deinit(&joined);
    return error;
}

/* The value as it would stand behind the option's flag. */
static struct error *flag_text(struct file *file, const struct option *option, const char *key,
                               const yaml_node_t *node, const char **text)
{
    if (node->type == YAML_SEQUENCE_NODE && option->type == OPTION_LIST)
        return join_list(file, key, node, text);
    if (node->type != YAML_SCALAR_NODE) return wrong(file, node, key, "a single value is expected");
    *text = arena_string(file->memory, bytes_of(node->data.scalar.value, node->data.scalar.length));
    switch (option->type) {
    case OPTION_BOOL:
        if (!is_plain(node) || bool_word(*text) == NULL)
            return wrong_value(file, node, key, *text, "true or false is expected, without quotes");
        *text = bool_word(*text);
        break;
    case OPTION_UINT:
    case OPTION_UINT32:
    case OPTION_INT:
        if (!is_plain(node))
            return wrong_value(file, node, key, *text, "a number is expected, without quotes");
        break;
    case OPTION_DURATION:
        *text = duration_text(file, *text);
        break;
    default:
        break;
    }
    return NULL;
}

static const struct option *value_option(const struct option *option)
{
    return option->use == OPTION_RENAMED ? option_find(bytes_from_string(option->other)) : option;
}

static struct error *take(struct file *file, const struct option *option, const char *key,
                          const yaml_node_t *node)
{
    union option_value value;
    struct buf reason = {0};
    const char *text = NULL;
    const struct option *typed = value_option(option);
    TRY(flag_text(file, typed, key, node, &text));
    struct error *error = NULL;
    /* A live choice is checked by options_complete, with etcd's words. */
    bool is_checked_later = typed->type == OPTION_CHOICE && typed->use == OPTION_LIVE;
    if (!is_checked_later && !option_read(typed, text, &value, &reason))
        error = wrong_value(file, node, key, text, buf_string(&reason));
    buf_deinit(&reason);
    *option_given(file->parser, option) = (struct option_given){.text = text, .source = OPTION_FROM_FILE};
    return error;
}

/* ---- keys ---- */

static const char *key_of(const struct option *option)
{
    return option->file == NULL ? option->name : option->file;
}

static const struct option *find_key(const char *key)
{
    for (size_t i = 0; i < option_count; i++)
        if (strcasecmp(key_of(&option_table[i]), key) == 0) return &option_table[i];
    return NULL;
}

static bool is_block(const char *key)
{
    size_t size = strlen(key);
    for (size_t i = 0; i < option_count; i++) {
        const char *path = key_of(&option_table[i]);
        if (strncasecmp(path, key, size) == 0 && path[size] == '/') return true;
    }
    return false;
}

static void note_unknown(struct file *file, const char *key, const yaml_node_t *node)
{
    options_note(file->parser->parsed, (struct options_note){
                                           .level = LOG_WARN,
                                           .message = "ignored an unknown key of the configuration file",
                                           .keys = {"key", "place"},
                                           .values = {key, arena_printf(file->memory, "%s:%zu", file->path,
                                                                        node->start_mark.line + 1)},
                                       });
}

/* Recursion is bounded by the depth of the table's paths. */
static struct error *take_mapping(struct file *file, const char *prefix, const yaml_node_t *mapping,
                                  int depth)
{
    for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = yaml_document_get_node(&file->document, pair->key);
        const yaml_node_t *node = yaml_document_get_node(&file->document, pair->value);
        if (name == NULL || node == NULL || name->type != YAML_SCALAR_NODE)
            return wrong(file, mapping, prefix, "a key is not a text");
        const char *key = arena_printf(file->memory, "%s%s", prefix, scalar(name));
        const struct option *option = find_key(key);
        if (option == NULL && !is_block(key)) {
            note_unknown(file, key, name);
        } else if (!is_null(node)) {
            if (option != NULL)
                TRY(take(file, option, key, node));
            else if (node->type != YAML_MAPPING_NODE || depth == DEPTH_MAX)
                return wrong(file, node, key, "a block of keys is expected");
            else
                TRY(take_mapping(file, arena_printf(file->memory, "%s/", key), node, depth + 1));
        }
    }
    return NULL;
}

/* ---- the file ---- */

static struct error *read_content(const char *path, struct buf *content)
{
    FILE *stream = fopen(path, "re");
    if (stream == NULL) return error_system(errno, "open %s", path);
    size_t got;
    do {
        got = fread(buf_reserve(content, 65536), 1, 65536, stream);
        content->size += got;
    } while (got > 0 && content->size <= FILE_MAX);
    int failure = ferror(stream) != 0 ? errno : 0;
    fclose(stream);
    if (failure != 0) return error_system(failure, "read %s", path);
    if (content->size > FILE_MAX) return error_new(ERROR_LIMIT, "%s is larger than %d bytes", path, FILE_MAX);
    return NULL;
}

static struct error *load(struct file *file, const struct buf *content)
{
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0) return error_new(ERROR_OTHER, "libyaml cannot start");
    yaml_parser_set_input_string(&parser, content->data, content->size);
    struct error *error = NULL;
    if (yaml_parser_load(&parser, &file->document) == 0)
        error =
            error_new(ERROR_INVALID, "error converting YAML to JSON: yaml: line %zu: %s",
                      parser.problem_mark.line + 1, parser.problem == NULL ? "unreadable" : parser.problem);
    yaml_parser_delete(&parser);
    return error;
}

struct error *options_read_file(struct option_parser *parser, const char *path)
{
    struct file file = {.parser = parser, .memory = parser->parsed->memory, .path = path};
    struct buf content = {0};
    struct error *error = read_content(path, &content);
    if (error == NULL) error = load(&file, &content);
    buf_deinit(&content);
    if (error != NULL) return error;
    const yaml_node_t *root = yaml_document_get_root_node(&file.document);
    if (root != NULL && root->type == YAML_MAPPING_NODE)
        error = take_mapping(&file, "", root, 0);
    else if (root != NULL && !is_null(root))
        error = wrong(&file, root, "the file", "keys and values are expected");
    yaml_document_delete(&file.document);
    return error;
}
