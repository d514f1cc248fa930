#include "shell/flag.h"

#include "base/text.h"

#include <assert.h>
#include <limits.h>

void words_add(struct words *words, struct arena *arena, struct bytes word)
{
    /* Room doubles at powers of two; the old array stays in the arena until it goes. */
    if ((words->count & (words->count - 1)) == 0) {
        size_t room = words->count == 0 ? 1 : words->count * 2;
        struct bytes *items = arena_alloc(arena, room * sizeof(*items));
        if (words->count > 0) memcpy(items, words->items, words->count * sizeof(*items));
        words->items = items;
    }
    const char *copy = arena_string(arena, word);
    words->items[words->count++] = bytes_of(copy, word.size);
}

struct words words_from(struct arena *arena, int count, char **arguments)
{
    struct words words = {0};
    for (int i = 0; i < count; i++) words_add(&words, arena, bytes_from_string(arguments[i]));
    return words;
}

static size_t table_size(const struct flag *table)
{
    size_t size = 0;
    while (table != NULL && table[size].name != NULL) size++;
    return size;
}

static void add_table(struct flag_set *set, const struct flag *table, bool inherited)
{
    for (size_t i = 0; i < table_size(table); i++) {
        struct flag_value *value = &set->values[set->count++];
        *value = (struct flag_value){.flag = &table[i], .inherited = inherited, .string = ""};
        bool valid = flag_set_assign(set, value, table[i].initial, NULL);
        assert(valid && "a flag's default must be readable by its own type");
        value->changed = false;
    }
}

void flag_set_init(struct flag_set *set, struct arena *arena, const struct flag *own,
                   const char *command_name, const struct flag *const *inherited)
{
    struct flag *help = arena_zalloc(arena, 2 * sizeof(*help));
    help[0] = (struct flag){"help", 'h', FLAG_BOOL, "false", arena_printf(arena, "help for %s", command_name),
                            NULL};
    size_t count = table_size(own) + 1;
    for (size_t i = 0; inherited != NULL && inherited[i] != NULL; i++) count += table_size(inherited[i]);
    *set =
        (struct flag_set){.arena = arena, .values = arena_zalloc(arena, count * sizeof(struct flag_value))};
    add_table(set, own, false);
    add_table(set, help, false);
    for (size_t i = 0; inherited != NULL && inherited[i] != NULL; i++) add_table(set, inherited[i], true);
    assert(set->count == count);
}

void flag_set_take_defaults(struct flag_set *set, const struct flag_set *from)
{
    for (size_t i = 0; i < from->count; i++) {
        struct flag_value *value = flag_find(set, from->values[i].flag->name);
        if (value == NULL || value->flag != from->values[i].flag) continue;
        *value = from->values[i];
        value->changed = false;
    }
}

struct flag_value *flag_find(const struct flag_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->values[i].flag->name, name) == 0) return &set->values[i];
    return NULL;
}

struct flag_value *flag_find_shorthand(const struct flag_set *set, char shorthand)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->values[i].flag->shorthand == shorthand && shorthand != 0) return &set->values[i];
    return NULL;
}

static struct flag_value *demand(const struct flag_set *set, const char *name)
{
    struct flag_value *value = flag_find(set, name);
    assert(value != NULL && "the command's table has no such flag");
    return value;
}

bool flag_changed(const struct flag_set *set, const char *name)
{
    return demand(set, name)->changed;
}

bool flag_bool(const struct flag_set *set, const char *name)
{
    struct flag_value *value = demand(set, name);
    assert(value->flag->type == FLAG_BOOL);
    return value->boolean;
}

const char *flag_string(const struct flag_set *set, const char *name)
{
    struct flag_value *value = demand(set, name);
    assert(value->flag->type == FLAG_STRING);
    return value->string;
}

int64_t flag_int(const struct flag_set *set, const char *name)
{
    struct flag_value *value = demand(set, name);
    assert(value->flag->type == FLAG_INT || value->flag->type == FLAG_INT32 ||
           value->flag->type == FLAG_DURATION);
    return value->integer;
}

uint64_t flag_uint(const struct flag_set *set, const char *name)
{
    struct flag_value *value = demand(set, name);
    assert(value->flag->type == FLAG_UINT);
    return value->unsigned_integer;
}

/* One field of a comma separated line; *at moves behind it and its comma. */
static bool next_field(const char **at, struct buf *field, bool *more)
{
    const char *text = *at;
    buf_clear(field);
    if (*text == '"') {
        for (text++; *text != 0; text++) {
            if (*text == '"' && text[1] != '"') break;
            if (*text == '"') text++;
            buf_append_byte(field, (uint8_t)*text);
        }
        if (*text != '"' || (text[1] != ',' && text[1] != 0)) return false;
        text++;
    } else {
        for (; *text != 0 && *text != ','; text++) {
            if (*text == '"') return false;
            buf_append_byte(field, (uint8_t)*text);
        }
    }
    *more = *text == ',';
    *at = *more ? text + 1 : text;
    return true;
}

/* Reads one line of comma separated values, quotes allowed. False when malformed. */
static bool split_list(struct arena *arena, const char *text, const char ***list, size_t *size)
{
    *list = NULL;
    *size = 0;
    if (*text == 0) return true;
    size_t room = 1;
    for (const char *comma = text; *comma != 0; comma++) room += *comma == ',';
    if (room > FLAG_LIST_MAX) return false;
    *list = arena_alloc(arena, room * sizeof(**list));
    struct buf field = {0};
    bool good = true;
    for (bool more = true; more && good;) {
        good = next_field(&text, &field, &more);
        if (good) (*list)[(*size)++] = arena_string(arena, buf_bytes(&field));
    }
    buf_deinit(&field);
    return good;
}

static bool assign_list(struct flag_set *set, struct flag_value *value, const char *text, struct buf *reason)
{
    const char **list;
    size_t size;
    if (!split_list(set->arena, text, &list, &size)) {
        if (reason != NULL) buf_append_string(reason, "parse error on line 1: bare or unclosed \" in field");
        return false;
    }
    size_t kept = value->changed ? value->list_size : 0;
    const char **joined = arena_alloc(set->arena, (kept + size + 1) * sizeof(*joined));
    for (size_t i = 0; i < kept; i++) joined[i] = value->list[i];
    for (size_t i = 0; i < size; i++) joined[kept + i] = list[i];
    value->list = joined;
    value->list_size = kept + size;
    return true;
}

static bool assign_int32(struct flag_value *value, const char *text, struct buf *reason)
{
    if (!text_parse_int64(text, 0, &value->integer, reason)) return false;
    if (value->integer >= INT32_MIN && value->integer <= INT32_MAX) return true;
    if (reason != NULL) {
        buf_append_string(reason, "strconv.ParseInt: parsing ");
        text_go_quote(reason, bytes_from_string(text));
        buf_append_string(reason, ": value out of range");
    }
    return false;
}

bool flag_set_assign(struct flag_set *set, struct flag_value *value, const char *text, struct buf *reason)
{
    bool good = true;
    struct flag_value next = *value;
    switch (value->flag->type) {
    case FLAG_BOOL:
        good = text_parse_bool(text, &next.boolean, reason);
        break;
    case FLAG_STRING:
        next.string = arena_string(set->arena, bytes_from_string(text));
        break;
    case FLAG_STRINGS:
        good = assign_list(set, &next, text, reason);
        break;
    case FLAG_INT:
        good = text_parse_int64(text, 0, &next.integer, reason);
        break;
    case FLAG_INT32:
        good = assign_int32(&next, text, reason);
        break;
    case FLAG_UINT:
        good = text_parse_uint64(text, 0, &next.unsigned_integer, reason);
        break;
    case FLAG_DURATION:
        good = text_parse_go_duration(text, &next.integer, reason);
        break;
    }
    if (!good) return false;
    next.changed = true;
    *value = next;
    return true;
}

static bool assign_or_explain(struct flag_set *set, struct flag_value *value, const char *text,
                              struct buf *reason)
{
    struct buf why = {0};
    bool good = flag_set_assign(set, value, text, &why);
    if (!good) {
        buf_append_string(reason, "invalid argument ");
        text_go_quote(reason, bytes_from_string(text));
        buf_append_string(reason, " for \"");
        if (value->flag->shorthand != 0) buf_printf(reason, "-%c, ", value->flag->shorthand);
        buf_printf(reason, "--%s\" flag: %s", value->flag->name, buf_string(&why));
    }
    buf_deinit(&why);
    return good;
}

/* `--name`, `--name=value`, `--name value`; *index moves over the words used. */
static bool parse_long(struct flag_set *set, const struct words *words, size_t *index, struct buf *reason)
{
    const char *word = word_string(words, (*index)++);
    const char *name = word + 2;
    const char *equals = strchr(name, '=');
    if (*name == '-' || *name == '=') {
        buf_printf(reason, "bad flag syntax: %s", word);
        return false;
    }
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    struct flag_value *value = flag_find(set, arena_string(set->arena, bytes_of(name, length)));
    if (value == NULL) {
        buf_printf(reason, "unknown flag: --%.*s", (int)length, name);
        return false;
    }
    if (equals != NULL) return assign_or_explain(set, value, equals + 1, reason);
    if (value->flag->type == FLAG_BOOL) return assign_or_explain(set, value, "true", reason);
    if (*index < words->count) return assign_or_explain(set, value, word_string(words, (*index)++), reason);
    buf_printf(reason, "flag needs an argument: %s", word);
    return false;
}

/* `-abc`, `-wjson`, `-w=json`, `-w json`. */
static bool parse_short(struct flag_set *set, const struct words *words, size_t *index, struct buf *reason)
{
    const char *word = word_string(words, (*index)++);
    for (const char *letters = word + 1; *letters != 0; letters++) {
        struct flag_value *value = flag_find_shorthand(set, *letters);
        if (value == NULL) {
            buf_printf(reason, "unknown shorthand flag: '%c' in -%s", *letters, letters);
            return false;
        }
        if (letters[1] == '=' && letters[2] != 0) return assign_or_explain(set, value, letters + 2, reason);
        if (value->flag->type == FLAG_BOOL) {
            if (!assign_or_explain(set, value, "true", reason)) return false;
            continue;
        }
        if (letters[1] != 0) return assign_or_explain(set, value, letters + 1, reason);
        if (*index < words->count)
            return assign_or_explain(set, value, word_string(words, (*index)++), reason);
        buf_printf(reason, "flag needs an argument: '%c' in -%s", *letters, letters);
        return false;
    }
    return true;
}

enum flag_outcome flag_set_parse(struct flag_set *set, const struct words *words, struct words *rest,
                                 struct buf *reason)
{
    *rest = (struct words){0};
    size_t index = 0;
    while (index < words->count) {
        const char *word = word_string(words, index);
        if (word[0] != '-' || word[1] == 0) {
            words_add(rest, set->arena, words->items[index++]);
        } else if (strcmp(word, "--") == 0) {
            for (index++; index < words->count; index++) words_add(rest, set->arena, words->items[index]);
        } else {
            bool good = word[1] == '-' ? parse_long(set, words, &index, reason)
                                       : parse_short(set, words, &index, reason);
            if (!good) return FLAG_MISTAKE;
        }
    }
    return flag_bool(set, "help") ? FLAG_HELP : FLAG_PARSED;
}

void flag_value_text(struct buf *out, const struct flag_value *value)
{
    switch (value->flag->type) {
    case FLAG_BOOL:
        buf_append_string(out, value->boolean ? "true" : "false");
        break;
    case FLAG_STRING:
        buf_append_string(out, value->string);
        break;
    case FLAG_INT:
    case FLAG_INT32:
        buf_printf(out, "%lld", (long long)value->integer);
        break;
    case FLAG_UINT:
        buf_printf(out, "%llu", (unsigned long long)value->unsigned_integer);
        break;
    case FLAG_DURATION:
        text_go_duration(out, value->integer);
        break;
    case FLAG_STRINGS:
        buf_append_byte(out, '[');
        for (size_t i = 0; i < value->list_size; i++)
            buf_printf(out, "%s%s", i > 0 ? "," : "", value->list[i]);
        buf_append_byte(out, ']');
        break;
    }
}
