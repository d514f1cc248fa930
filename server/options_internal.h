/* What the parts of options share: the row of the table, and values on their way into the fields. */
#ifndef SERVER_OPTIONS_INTERNAL_H
#define SERVER_OPTIONS_INTERNAL_H

#include "server/options.h"

enum option_type {
    OPTION_STRING,
    OPTION_LIST,          /* texts separated by commas; in a file also a YAML list */
    OPTION_URLS,          /* addresses to listen on or to advertise, at least one */
    OPTION_OPTIONAL_URLS, /* the same, or "" */
    OPTION_ORIGINS,       /* addresses or "*" */
    OPTION_CHOICE,        /* one of `choices` */
    OPTION_GATES,
    OPTION_BOOL,
    OPTION_ANYTHING, /* stands without a value like a bool, and takes any */
    OPTION_UINT,
    OPTION_UINT32,
    OPTION_INT,
    OPTION_DURATION,
};

enum option_use {
    OPTION_LIVE,           /* sets a field */
    OPTION_RENAMED,        /* is another name of the option `other` */
    OPTION_GATE,           /* sets the feature gate `other` */
    OPTION_IMPLIES,        /* true gives the option `other` the value `text`, unless it has one */
    OPTION_REFUSED,        /* a value other than the default refuses the start; `text` says why */
    OPTION_WITHOUT_EFFECT, /* a value other than the default is warned about with `text`, if any */
};

struct option {
    const char *name;
    enum option_type type;
    enum option_use use;
    size_t offset;       /* OPTION_LIVE: of the field */
    const char *initial; /* default, as text */
    const char *help;    /* NULL: not shown in --help */
    const char *file;    /* key in a file, "block/key" inside a block; NULL: the name; "": none */
    const char *other;
    const char *text;
    const char *choices; /* "new|existing" */
    bool is_secret;      /* must not be shown */
};

extern const struct option option_table[];
extern const size_t option_count;

const struct option *option_find(struct bytes name);

/* One value of any type. Lists and addresses are kept as text. */
union option_value {
    const char *string;
    bool boolean;
    uint64_t unsigned_integer;
    int64_t integer;
};

/* Reads a value; on failure `reason` gets what Go's flag package says behind the colon. */
bool option_read(const struct option *option, const char *text, union option_value *value,
                 struct buf *reason);
bool option_is_default(const struct option *option, const char *text);
/* The value that an OPTION_LIVE row's field has now. */
void option_load(const struct options *options, const struct option *option, union option_value *value);

/* Whether the start-up log shows it, and under which key. */
bool options_is_logged(const struct option *option);
const char *options_logged_name(const struct option *option);

enum option_source { OPTION_FROM_DEFAULT, OPTION_FROM_FLAG, OPTION_FROM_ENVIRONMENT, OPTION_FROM_FILE };

/* What the sources said, one for each row. */
struct option_given {
    const char *text;
    enum option_source source;
};

struct option_parser {
    struct options_parsed *parsed;
    struct option_given *given; /* option_count of them */
};

static inline struct option_given *option_given(struct option_parser *parser, const struct option *option)
{
    return &parser->given[option - option_table];
}

/* The strings of a note are kept in parsed->memory or static. */
void options_note(struct options_parsed *parsed, struct options_note note);

/* options_host.c: members that listen on every address advertise the one that the default route goes from,
 * unless they were told another; notes it. */
void options_advertise_default_host(struct options_parsed *parsed);

/* Reads the file into parser->given. */
struct error *options_read_file(struct option_parser *parser, const char *path)
    __attribute__((warn_unused_result));

/* "A=true,B=false" into gates[], which must hold the defaults or what was set before; set[] (may be NULL)
 * gets which ones were named. */
bool options_gates_read(const char *text, bool gates[OPTIONS_GATE_COUNT], bool set[OPTIONS_GATE_COUNT],
                        struct buf *reason);
void options_gates_default(bool gates[OPTIONS_GATE_COUNT]);
/* OPTIONS_GATE_COUNT when unknown. */
enum options_gate options_gate_find(struct bytes name);
/* What is to be said of a gate without effect that is not as it was; else NULL. Static. */
const char *options_gate_ignored(enum options_gate gate, const bool gates[OPTIONS_GATE_COUNT]);
/* Resolves AllAlpha and AllBeta, checks dependencies. */
struct error *options_gates_complete(bool gates[OPTIONS_GATE_COUNT], const bool set[OPTIONS_GATE_COUNT])
    __attribute__((warn_unused_result));

#endif
