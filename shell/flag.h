/* flag: command line flags, described by tables and parsed as Go's pflag does.
 *
 * A flag is one row of a table; the row drives parsing, help, completion and the man page. A flag set joins
 * the tables that hold for one command (its own, its group's, the global one) and keeps a value for each row.
 * Flags may stand anywhere among the words; `--` ends them.
 *
 * Values live in the arena given at creation, names are borrowed from the tables. Asking for a flag that is
 * not in the set, or by the wrong type, is a programmer's error (assert).
 */
#ifndef SHELL_FLAG_H
#define SHELL_FLAG_H

#include "base/arena.h"
#include "base/buf.h"

enum flag_type {
    FLAG_BOOL,
    FLAG_STRING,
    FLAG_STRINGS, /* comma separated; the first use replaces the default, further ones append */
    FLAG_INT,     /* 64 bits, signed */
    FLAG_INT32,   /* 32 bits, signed */
    FLAG_UINT,
    FLAG_DURATION, /* nanoseconds */
};

struct flag {
    const char *name; /* NULL ends a table */
    char shorthand;   /* 0: none */
    enum flag_type type;
    const char *initial; /* the default as it is typed and shown; "" for an empty string */
    const char *help;
    const char *choices; /* words for completion, blank separated, or NULL */
};

enum { FLAG_LIST_MAX = 1000 };

struct flag_value {
    const struct flag *flag;
    bool inherited; /* of the group or global: these have an environment variable */
    bool changed;   /* given on the line */
    bool boolean;
    int64_t integer; /* also durations */
    uint64_t unsigned_integer;
    const char *string;
    const char **list;
    size_t list_size;
};

struct flag_set {
    struct arena *arena;
    struct flag_value *values;
    size_t count;
};

/* Words as they were typed; each is followed by a zero byte, so that .data may serve as a C string. */
struct words {
    struct bytes *items;
    size_t count;
};

enum flag_outcome {
    FLAG_PARSED,
    FLAG_HELP,    /* -h or --help was among the words */
    FLAG_MISTAKE, /* the reason is text for "Error: ..." */
};

/* `own` belongs to the command, the tables in `inherited` (NULL terminated array, may be NULL) to its
 * parents. A help flag is added when no table has one. */
void flag_set_init(struct flag_set *set, struct arena *arena, const struct flag *own,
                   const char *command_name, const struct flag *const *inherited);
/* Takes over the values of equally named flags of `from` as new defaults (not marked as changed). */
void flag_set_take_defaults(struct flag_set *set, const struct flag_set *from);
/* Parses `words`; what is no flag goes to *rest (in the arena). */
enum flag_outcome flag_set_parse(struct flag_set *set, const struct words *words, struct words *rest,
                                 struct buf *reason) __attribute__((warn_unused_result));
/* Sets one value from text, as if it had been typed. False with the reason when it cannot be read. */
bool flag_set_assign(struct flag_set *set, struct flag_value *value, const char *text, struct buf *reason);

/* NULL when there is none. */
struct flag_value *flag_find(const struct flag_set *set, const char *name);
struct flag_value *flag_find_shorthand(const struct flag_set *set, char shorthand);
bool flag_changed(const struct flag_set *set, const char *name);
bool flag_bool(const struct flag_set *set, const char *name);
const char *flag_string(const struct flag_set *set, const char *name);
int64_t flag_int(const struct flag_set *set, const char *name); /* also durations */
uint64_t flag_uint(const struct flag_set *set, const char *name);
/* The value as Go prints it: "5s", "[a,b]". */
void flag_value_text(struct buf *out, const struct flag_value *value);

/* Appends one word (copied into the arena with its closing zero). */
void words_add(struct words *words, struct arena *arena, struct bytes word);
/* The words of a C array, borrowed; the array of `struct bytes` is in the arena. */
struct words words_from(struct arena *arena, int count, char **arguments);
static inline const char *word_string(const struct words *words, size_t index)
{
    return (const char *)words->items[index].data;
}

#endif
