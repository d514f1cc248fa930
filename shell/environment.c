#include "shell/environment.h"

#include <ctype.h>

#define PREFIX "ETCDCTL_"

const char *environment_name(const struct flag *flag, struct arena *arena)
{
    char *name = arena_string(arena, bytes_from_string(arena_printf(arena, PREFIX "%s", flag->name)));
    for (char *at = name; *at != 0; at++) *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    return name;
}

const char *environment_get(char **environment, const char *name)
{
    size_t size = strlen(name);
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++)
        if (strncmp(environment[i], name, size) == 0 && environment[i][size] == '=')
            return environment[i] + size + 1;
    return NULL;
}

static bool names(const char *item, const char *name)
{
    size_t size = strlen(name);
    return strncmp(item, name, size) == 0 && item[size] == '=';
}

/* Whether the item's variable gave a flag its value, or is the business of somebody else. */
static bool is_used(const struct flag_set *flags, char **environment, const char *item,
                    const char *const *known)
{
    for (size_t i = 0; known != NULL && known[i] != NULL; i++)
        if (names(item, known[i])) return true;
    for (size_t i = 0; i < flags->count; i++) {
        const struct flag_value *value = &flags->values[i];
        if (!value->inherited) continue;
        const char *name = environment_name(value->flag, flags->arena);
        if (!names(item, name)) continue;
        const char *text = environment_get(environment, name);
        return text != NULL && *text != 0;
    }
    return false;
}

static const char *find_conflict(const struct flag_set *flags, char **environment)
{
    for (size_t i = 0; i < flags->count; i++) {
        const struct flag_value *value = &flags->values[i];
        if (!value->inherited || !value->changed) continue;
        const char *name = environment_name(value->flag, flags->arena);
        if (environment_get(environment, name) != NULL) return name;
    }
    return NULL;
}

void environment_apply(struct flag_set *flags, char **environment, const char *const *known,
                       struct environment_report *report)
{
    *report = (struct environment_report){.conflict = find_conflict(flags, environment)};
    if (report->conflict != NULL) return;
    for (size_t i = 0; i < flags->count; i++) {
        struct flag_value *value = &flags->values[i];
        if (!value->inherited) continue;
        const char *text = environment_get(environment, environment_name(value->flag, flags->arena));
        /* What cannot be read is dropped without a word, as etcdctl does. */
        if (text != NULL && *text != 0) flag_set_assign(flags, value, text, NULL);
    }
    size_t count = 0;
    while (environment != NULL && environment[count] != NULL && count < ENVIRONMENT_VARIABLES_MAX) count++;
    report->unrecognized = arena_alloc(flags->arena, (count + 1) * sizeof(*report->unrecognized));
    for (size_t i = 0; i < count; i++)
        if (strncmp(environment[i], PREFIX, strlen(PREFIX)) == 0 &&
            !is_used(flags, environment, environment[i], known))
            report->unrecognized[report->unrecognized_count++] = environment[i];
}
