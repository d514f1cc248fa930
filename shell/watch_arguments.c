#include "shell/watch_arguments.h"

#include "base/text.h"
#include "shell/shell.h"

#include <assert.h>

static int refuse(struct buf *reason, const char *text)
{
    buf_append_string(reason, text);
    return SHELL_BAD_ARGUMENTS;
}

int watch_arguments_read(const struct words *words, const struct words *separated, bool has_separator,
                         const char *environment_key, const char *environment_range_end, struct arena *arena,
                         struct watch_arguments *arguments, struct buf *reason)
{
    assert(words->count >= separated->count);
    size_t own = words->count - separated->count;
    bool has_key = environment_key != NULL && *environment_key != 0;
    bool has_end = environment_range_end != NULL && *environment_range_end != 0;
    if (has_end && !has_key) {
        buf_append_string(reason, "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=");
        text_go_quote(reason, bytes_from_string(environment_range_end));
        return SHELL_BAD_ARGUMENTS;
    }
    if (!has_key && own == 0) return refuse(reason, "bad number of arguments");
    if (has_key && own > 0)
        return refuse(reason, "bad number of arguments (found conflicting environment key)");
    if (has_separator && separated->count == 0)
        return refuse(reason, "bad number of arguments (found separator --, but no commands)");
    *arguments = (struct watch_arguments){.command = *separated};
    if (has_key) {
        arguments->key = arena_copy(arena, bytes_from_string(environment_key));
        arguments->has_range_end = has_end;
        if (has_end) arguments->range_end = arena_copy(arena, bytes_from_string(environment_range_end));
        return SHELL_OK;
    }
    arguments->key = words->items[0];
    /* With more than two words only the first one counts. */
    arguments->has_range_end = own == 2;
    if (own == 2) arguments->range_end = words->items[1];
    return SHELL_OK;
}
