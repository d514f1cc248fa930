/* The configuration as one line of the start-up log: etcd's fields in etcd's order, then every other option
 * under its own name. An option that is added to the table is in the line without further ado. */
#include "server/options_internal.h"

#include "base/buf.h"
#include "base/memory.h"
#include "cluster/url.h"
#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MILLISECOND INT64_C(1000000)

enum { LISTS_MAX = 32, FIELDS_MAX = 256, OPTIONS_MAX = 512 };

/* Lists are arrays as long as the line is being made. */
struct shown {
    const struct options *options;
    struct log_field fields[FIELDS_MAX];
    size_t count;
    struct cluster_urls lists[LISTS_MAX];
    size_t list_count;
    bool seen[OPTIONS_MAX];
};

/* Options that etcd's line calls otherwise. */
static const struct {
    const char *option, *key;
} other_names[] = {
    {"corrupt-check-time", "corrupt-check-time-interval"},
    {"compact-hash-check-time", "compact-check-time-interval"},
    {"downgrade-check-time", "downgrade-check-interval"},
};

const char *options_logged_name(const struct option *option)
{
    for (size_t i = 0; i < sizeof(other_names) / sizeof(other_names[0]); i++)
        if (strcmp(option->name, other_names[i].option) == 0) return other_names[i].key;
    return option->name;
}

bool options_is_logged(const struct option *option)
{
    /* The others ask for something else than a server. */
    return option->help != NULL && strcmp(option->name, "config-file") != 0 &&
           strcmp(option->name, "version") != 0;
}

static void show(struct shown *shown, struct log_field field)
{
    assert(shown->count < FIELDS_MAX);
    shown->fields[shown->count++] = field;
}

static void show_list(struct shown *shown, const char *key, const char *list)
{
    assert(shown->list_count < LISTS_MAX);
    struct cluster_urls *items = &shown->lists[shown->list_count++];
    while (*list != '\0') {
        size_t size = strcspn(list, ",");
        cluster_urls_append(items, bytes_of(list, size));
        list += size + (list[size] == ',');
    }
    show(shown, LOG_STRINGS(key, (const char *const *)items->items, items->count));
}

/* The field of a live option, which may have been completed; else what was said. */
static union option_value value_of(const struct options *options, const struct option *option)
{
    union option_value value = {0};
    struct buf reason = {0};
    if (option->use == OPTION_LIVE)
        option_load(options, option, &value);
    else if (!option_read(option, options->texts[option - option_table], &value, &reason))
        value = (union option_value){0}; /* none of the choices: options_complete has refused it */
    buf_deinit(&reason);
    return value;
}

static void show_option(struct shown *shown, const struct option *option)
{
    const char *key = options_logged_name(option);
    union option_value value = value_of(shown->options, option);
    assert((size_t)(option - option_table) < OPTIONS_MAX);
    shown->seen[option - option_table] = true;
    switch (option->type) {
    case OPTION_BOOL:
        show(shown, LOG_BOOL(key, value.boolean));
        break;
    case OPTION_UINT:
    case OPTION_UINT32:
        show(shown, LOG_UINT(key, value.unsigned_integer));
        break;
    case OPTION_INT:
        show(shown, LOG_INT(key, value.integer));
        break;
    case OPTION_DURATION:
        show(shown, LOG_DURATION(key, value.integer));
        break;
    case OPTION_LIST:
    case OPTION_URLS:
    case OPTION_OPTIONAL_URLS:
    case OPTION_ORIGINS:
        show_list(shown, key, value.string);
        break;
    default:
        show(shown, LOG_STRING(key, option->is_secret && *value.string != '\0' ? "***" : value.string));
        break;
    }
}

static void show_named(struct shown *shown, const char *name)
{
    const struct option *option = option_find(bytes_from_string(name));
    assert(option != NULL);
    show_option(shown, option);
}

/* What etcd's line says in another way than the option does. */
static void show_instead(struct shown *shown, const char *name, struct log_field field)
{
    const struct option *option = option_find(bytes_from_string(name));
    assert(option != NULL);
    shown->seen[option - option_table] = true;
    show(shown, field);
}

static void show_program(struct shown *shown, bool member_initialized, const struct utsname *system)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    show(shown, LOG_STRING("etcd-version", ETCD_VERSION));
    show(shown, LOG_STRING("git-sha", PACKAGE_NAME "-" PACKAGE_VERSION));
    show(shown, LOG_STRING("go-version", "none"));
    show(shown, LOG_STRING("go-os", "linux"));
    show(shown, LOG_STRING("go-arch", strcmp(system->machine, "x86_64") == 0 ? "amd64" : system->machine));
    show(shown, LOG_INT("max-cpu-set", processors));
    show(shown, LOG_INT("max-cpu-available", processors));
    show(shown, LOG_BOOL("member-initialized", member_initialized));
}

static void show_member(struct shown *shown, const char *member_directory)
{
    static const char *const names[] = {"initial-election-tick-advance",
                                        "snapshot-count",
                                        "max-wals",
                                        "max-snapshots",
                                        "snapshot-catchup-entries",
                                        "initial-advertise-peer-urls",
                                        "listen-peer-urls",
                                        "advertise-client-urls",
                                        "listen-client-urls",
                                        "listen-metrics-urls"};
    const struct options *options = shown->options;
    show_named(shown, "name");
    show_named(shown, "data-dir");
    show_named(shown, "wal-dir");
    show(shown, LOG_STRING("wal-dir-dedicated", options->wal_dir));
    show(shown, LOG_STRING("member-dir", member_directory));
    show_named(shown, "force-new-cluster");
    show_instead(shown, "heartbeat-interval",
                 LOG_DURATION("heartbeat-interval", (int64_t)options->heartbeat_interval * MILLISECOND));
    show_instead(shown, "election-timeout",
                 LOG_DURATION("election-timeout", (int64_t)options->election_timeout * MILLISECOND));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) show_named(shown, names[i]);
    show(shown, LOG_STRING("local-address", options->local_address));
}

static void show_cluster(struct shown *shown)
{
    static const char *const names[] = {"cors", "host-whitelist", "initial-cluster", "initial-cluster-state",
                                        "initial-cluster-token"};
    static const char *const limits[] = {"max-request-bytes", "max-concurrent-streams", "pre-vote",
                                         "feature-gates"};
    const struct options *options = shown->options;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) show_named(shown, names[i]);
    show_instead(shown, "quota-backend-bytes", LOG_UINT("quota-backend-bytes", options_quota(options)));
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) show_named(shown, limits[i]);
    show(shown, LOG_BOOL("initial-corrupt-check", options->gates[GATE_INITIAL_CORRUPT_CHECK]));
    show_named(shown, "corrupt-check-time");
    show(shown, LOG_BOOL("compact-check-time-enabled", options->gates[GATE_COMPACT_HASH_CHECK]));
    show_named(shown, "compact-hash-check-time");
    show_named(shown, "auto-compaction-mode");
    show_instead(shown, "auto-compaction-retention",
                 options->auto_compaction_revisions > 0
                     ? LOG_INT("auto-compaction-retention", options->auto_compaction_revisions)
                     : LOG_DURATION("auto-compaction-retention", options->auto_compaction_period));
}

void options_log(const struct options *options, const struct logger *logger, bool member_initialized)
{
    struct shown *shown = mem_zalloc(1, sizeof(*shown));
    struct utsname system = {0};
    struct buf member_directory = {0};
    shown->options = options;
    uname(&system);
    buf_printf(&member_directory, "%s/member", options->data_dir);
    show_program(shown, member_initialized, &system);
    show_member(shown, buf_string(&member_directory));
    show_cluster(shown);
    for (size_t i = 0; i < option_count; i++)
        if (!shown->seen[i] && options_is_logged(&option_table[i])) show_option(shown, &option_table[i]);
    log_emit(logger, LOG_INFO, __FILE__, __LINE__, "starting an etcd server", shown->fields, shown->count);
    for (size_t i = 0; i < shown->list_count; i++) cluster_urls_deinit(&shown->lists[i]);
    buf_deinit(&member_directory);
    free(shown);
}
