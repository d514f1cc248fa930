#include "shell/kv_request.h"

#include "api/keys.h"
#include "api/message.h"
#include "base/text.h"
#include "shell/shell.h"

#include <strings.h>

const struct flag kv_put_flags[] = {
    {"lease", 0, FLAG_STRING, "0", "lease (in hexadecimal) that the key is attached to", NULL},
    {"prev-kv", 0, FLAG_BOOL, "false", "show the key's previous value", NULL},
    {"ignore-value", 0, FLAG_BOOL, "false", "keep the key's present value", NULL},
    {"ignore-lease", 0, FLAG_BOOL, "false", "keep the key's present lease", NULL},
    {0},
};

const struct flag kv_get_flags[] = {
    {"consistency", 0, FLAG_STRING, "l", "linearizable (l) or serializable (s)", "l s"},
    {"order", 0, FLAG_STRING, "", "order of the results: ASCEND or DESCEND", "ASCEND DESCEND"},
    {"sort-by", 0, FLAG_STRING, "", "what to sort by: CREATE, KEY, MODIFY, VALUE or VERSION",
     "CREATE KEY MODIFY VALUE VERSION"},
    {"limit", 0, FLAG_INT, "0", "at most so many results (0: all)", NULL},
    {"prefix", 0, FLAG_BOOL, "false", "all keys that start with the given one", NULL},
    {"from-key", 0, FLAG_BOOL, "false", "all keys from the given one on, in byte order", NULL},
    {"rev", 0, FLAG_INT, "0", "as it was at this revision (0: now)", NULL},
    {"keys-only", 0, FLAG_BOOL, "false", "leave out the values", NULL},
    {"count-only", 0, FLAG_BOOL, "false", "only the number of keys", NULL},
    {"print-value-only", 0, FLAG_BOOL, "false", "leave out the keys in the simple format", NULL},
    {"min-create-rev", 0, FLAG_INT, "0", "only keys created at this revision or later", NULL},
    {"max-create-rev", 0, FLAG_INT, "0", "only keys created at this revision or earlier", NULL},
    {"min-mod-rev", 0, FLAG_INT, "0", "only keys modified at this revision or later", NULL},
    {"max-mod-rev", 0, FLAG_INT, "0", "only keys modified at this revision or earlier", NULL},
    {0},
};

const struct flag kv_del_flags[] = {
    {"prefix", 0, FLAG_BOOL, "false", "all keys that start with the given one", NULL},
    {"prev-kv", 0, FLAG_BOOL, "false", "show what was deleted", NULL},
    {"from-key", 0, FLAG_BOOL, "false", "all keys from the given one on, in byte order", NULL},
    {"range", 0, FLAG_BOOL, "false", "the two keys are a range: do not warn", NULL},
    {0},
};

#define SMALLEST_KEY KEY_OPEN_END

static int refuse(struct buf *reason, int code, const char *text)
{
    buf_append_string(reason, text);
    return code;
}

/* ---- put ---- */

bool kv_put_wants_input(const struct invocation *line)
{
    return line->words.count == 1 && !flag_bool(&line->flags, "ignore-value");
}

int kv_put_request(const struct invocation *line, struct bytes input, Etcdserverpb__PutRequest *request,
                   struct buf *reason)
{
    static const char needs[] = "put command needs 1 argument and input from stdin or 2 arguments";
    const struct words *words = &line->words;
    bool ignore_value = flag_bool(&line->flags, "ignore-value");
    if (words->count == 0) return refuse(reason, SHELL_BAD_ARGUMENTS, needs);
    if (ignore_value && words->count > 1)
        return refuse(reason, SHELL_BAD_ARGUMENTS,
                      "put command needs only 1 argument when 'ignore-value' is set");
    if (kv_put_wants_input(line) && input.size == 0) return refuse(reason, SHELL_BAD_ARGUMENTS, needs);
    int64_t lease = 0;
    struct buf why = {0};
    bool good = text_parse_int64(flag_string(&line->flags, "lease"), 16, &lease, &why);
    if (!good) buf_printf(reason, "bad lease ID (%s), expecting ID in Hex", buf_string(&why));
    buf_deinit(&why);
    if (!good) return SHELL_BAD_ARGUMENTS;
    *request = (Etcdserverpb__PutRequest)ETCDSERVERPB__PUT_REQUEST__INIT;
    request->key = message_binary(words->items[0]);
    if (!ignore_value) request->value = message_binary(words->count > 1 ? words->items[1] : input);
    request->lease = lease;
    request->prev_kv = flag_bool(&line->flags, "prev-kv");
    request->ignore_value = ignore_value;
    request->ignore_lease = flag_bool(&line->flags, "ignore-lease");
    return SHELL_OK;
}

/* ---- Ranges ---- */

/* The key range of KEY [END] with --prefix or --from-key. */
static int range_of(const struct invocation *line, struct arena *arena, struct bytes *key,
                    struct bytes *range_end, struct buf *reason)
{
    bool prefix = flag_bool(&line->flags, "prefix"), from_key = flag_bool(&line->flags, "from-key");
    *key = line->words.items[0];
    *range_end = BYTES_EMPTY;
    if (line->words.count > 1) {
        if (prefix || from_key)
            return refuse(
                reason, SHELL_BAD_ARGUMENTS,
                "too many arguments, only accept one argument when `--prefix` or `--from-key` is set");
        *range_end = line->words.items[1];
    }
    if (prefix || from_key) {
        *range_end = prefix ? key_prefix_end(*key, arena) : KEY_OPEN_END;
        if (key->size == 0) *key = SMALLEST_KEY;
    }
    return SHELL_OK;
}

static int check_range_flags(const struct invocation *line, struct buf *reason)
{
    if (flag_bool(&line->flags, "prefix") && flag_bool(&line->flags, "from-key"))
        return refuse(reason, SHELL_BAD_ARGUMENTS,
                      "`--prefix` and `--from-key` cannot be set at the same time, choose one");
    return SHELL_OK;
}

/* ---- get ---- */

struct choice {
    const char *name;
    int value;
};

static const struct choice sort_orders[] = {
    {"", ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE},
    {"ASCEND", ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND},
    {"DESCEND", ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND},
    {0},
};

static const struct choice sort_targets[] = {
    {"", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY},
    {"CREATE", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE},
    {"KEY", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY},
    {"VALUE", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE},
    {"MODIFY", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD},
    {"VERSION", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION},
    {0},
};

static bool choose(const struct choice *choices, const char *name, int *value)
{
    for (; choices->name != NULL; choices++) {
        if (strcasecmp(choices->name, name) != 0) continue;
        *value = choices->value;
        return true;
    }
    return false;
}

static int read_sorting(const struct flag_set *flags, Etcdserverpb__RangeRequest *request, struct buf *reason)
{
    int order, target;
    if (!choose(sort_orders, flag_string(flags, "order"), &order)) {
        buf_printf(reason, "bad sort order %s", flag_string(flags, "order"));
        return SHELL_BAD_FEATURE;
    }
    if (!choose(sort_targets, flag_string(flags, "sort-by"), &target)) {
        buf_printf(reason, "bad sort target %s", flag_string(flags, "sort-by"));
        return SHELL_BAD_FEATURE;
    }
    /* Keys come in ascending order anyway. */
    if (target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY &&
        order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND)
        order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
    request->sort_order = (Etcdserverpb__RangeRequest__SortOrder)order;
    request->sort_target = (Etcdserverpb__RangeRequest__SortTarget)target;
    return SHELL_OK;
}

static int read_revision_bounds(const struct flag_set *flags, Etcdserverpb__RangeRequest *request,
                                struct buf *reason)
{
    request->min_create_revision = flag_int(flags, "min-create-rev");
    request->max_create_revision = flag_int(flags, "max-create-rev");
    request->min_mod_revision = flag_int(flags, "min-mod-rev");
    request->max_mod_revision = flag_int(flags, "max-mod-rev");
    const struct {
        const char *name;
        int64_t low, high;
    } bounds[] = {{"Create", request->min_create_revision, request->max_create_revision},
                  {"Mod", request->min_mod_revision, request->max_mod_revision}};
    for (size_t i = 0; i < 2; i++) {
        if (bounds[i].high <= 0 || bounds[i].low <= bounds[i].high) continue;
        buf_printf(reason, "getMin%sRev(=%lld) > getMax%sRev(=%lld)", bounds[i].name,
                   (long long)bounds[i].low, bounds[i].name, (long long)bounds[i].high);
        return SHELL_BAD_FEATURE;
    }
    return SHELL_OK;
}

static int check_get(const struct invocation *line, struct buf *reason)
{
    const struct flag_set *flags = &line->flags;
    if (line->words.count == 0)
        return refuse(reason, SHELL_BAD_ARGUMENTS,
                      "get command needs one argument as key and an optional argument as range_end");
    int status = check_range_flags(line, reason);
    if (status != SHELL_OK) return status;
    if (flag_bool(flags, "keys-only") && flag_bool(flags, "count-only"))
        return refuse(reason, SHELL_BAD_ARGUMENTS,
                      "`--keys-only` and `--count-only` cannot be set at the same time, choose one");
    const char *consistency = flag_string(flags, "consistency");
    if (strcmp(consistency, "l") == 0 || strcmp(consistency, "s") == 0) return SHELL_OK;
    buf_append_string(reason, "unknown consistency flag ");
    text_go_quote(reason, bytes_from_string(consistency));
    return SHELL_BAD_FEATURE;
}

int kv_get_request(const struct invocation *line, struct arena *arena, Etcdserverpb__RangeRequest *request,
                   struct buf *reason)
{
    const struct flag_set *flags = &line->flags;
    *request = (Etcdserverpb__RangeRequest)ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct bytes key, range_end;
    int status = check_get(line, reason);
    if (status == SHELL_OK) status = range_of(line, arena, &key, &range_end, reason);
    if (status == SHELL_OK) status = read_sorting(flags, request, reason);
    if (status == SHELL_OK) status = read_revision_bounds(flags, request, reason);
    if (status != SHELL_OK) return status;
    request->key = message_binary(key);
    request->range_end = message_binary(range_end);
    request->limit = flag_int(flags, "limit");
    request->revision = flag_int(flags, "rev") > 0 ? flag_int(flags, "rev") : 0;
    request->serializable = strcmp(flag_string(flags, "consistency"), "s") == 0;
    request->keys_only = flag_bool(flags, "keys-only");
    request->count_only = flag_bool(flags, "count-only");
    return SHELL_OK;
}

/* ---- del ---- */

int kv_del_request(const struct invocation *line, struct arena *arena,
                   Etcdserverpb__DeleteRangeRequest *request, bool *warns, struct buf *reason)
{
    if (line->words.count == 0 || line->words.count > 2)
        return refuse(reason, SHELL_BAD_ARGUMENTS,
                      "del command needs one argument as key and an optional argument as range_end");
    struct bytes key, range_end;
    int status = check_range_flags(line, reason);
    if (status == SHELL_OK) status = range_of(line, arena, &key, &range_end, reason);
    if (status != SHELL_OK) return status;
    *request = (Etcdserverpb__DeleteRangeRequest)ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    request->key = message_binary(key);
    request->range_end = message_binary(range_end);
    request->prev_kv = flag_bool(&line->flags, "prev-kv");
    *warns = line->words.count > 1 && !flag_bool(&line->flags, "range");
    return SHELL_OK;
}
