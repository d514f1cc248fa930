#include "tui/key_detail.h"

#include "base/memory.h"

#include <stdlib.h>

static void clear_history(struct key_detail *detail)
{
    for (size_t i = 0; i < detail->history_count; i++) buf_deinit(&detail->history[i].value);
    detail->history_count = 0;
    detail->history_ended = false;
    detail->history_end = NULL;
    detail->history_id = 0;
}

void key_detail_deinit(struct key_detail *detail)
{
    clear_history(detail);
    buf_deinit(&detail->key);
    buf_deinit(&detail->now.value);
    free(detail->failure);
}

static void forget(struct key_detail *detail)
{
    clear_history(detail);
    buf_clear(&detail->now.value);
    free(detail->failure);
    detail->failure = NULL;
    detail->value_id = 0; /* an answer under way finds nobody */
    detail->answered = 0;
}

void key_detail_select(struct key_detail *detail, struct bytes key)
{
    if (detail->state != KEY_DETAIL_NONE && bytes_equal(buf_bytes(&detail->key), key)) return;
    forget(detail);
    buf_clear(&detail->key);
    buf_append_bytes(&detail->key, key);
    detail->state = KEY_DETAIL_WAITING;
    detail->is_stale = true;
}

void key_detail_select_nothing(struct key_detail *detail)
{
    forget(detail);
    detail->state = KEY_DETAIL_NONE;
    detail->is_stale = false;
}

void key_detail_refresh(struct key_detail *detail)
{
    detail->is_stale = true;
}

void key_detail_want_history(struct key_detail *detail, bool wanted)
{
    detail->with_history = wanted;
    if (!wanted) clear_history(detail);
}

/* Between what is known and the key's creation: the version that held just before the oldest known one. */
static bool next_history(struct key_detail *detail, struct key_request *request)
{
    if (!detail->with_history || detail->state != KEY_DETAIL_THERE || detail->history_ended) return false;
    if (detail->history_id != 0) return false;
    const struct key_version *oldest =
        detail->history_count == 0 ? &detail->now : &detail->history[detail->history_count - 1];
    if (oldest->version <= 1) {
        detail->history_ended = true;
        detail->history_end = "created";
        return false;
    }
    if (detail->history_count == KEY_DETAIL_HISTORY_MAX) {
        detail->history_ended = true;
        detail->history_end = "older ones are not shown";
        return false;
    }
    detail->history_id = ++detail->next_id;
    *request = (struct key_request){.id = detail->history_id,
                                    .kind = KEY_REQUEST_VALUE,
                                    .key = buf_bytes(&detail->key),
                                    .revision = oldest->mod_revision - 1};
    return true;
}

bool key_detail_next(struct key_detail *detail, struct key_request *request)
{
    if (detail->state == KEY_DETAIL_NONE || detail->key.size == 0) return false;
    if (!detail->is_stale || detail->value_id != 0) return next_history(detail, request);
    detail->is_stale = false;
    detail->value_id = ++detail->next_id;
    *request = (struct key_request){.id = detail->value_id,
                                    .kind = KEY_REQUEST_VALUE,
                                    .key = buf_bytes(&detail->key)};
    return true;
}

static void take_version(struct key_version *version, const Mvccpb__KeyValue *kv)
{
    version->create_revision = kv->create_revision;
    version->mod_revision = kv->mod_revision;
    version->version = kv->version;
    version->lease = kv->lease;
    buf_clear(&version->value);
    buf_append(&version->value, kv->value.data, kv->value.len);
}

static void take_value(struct key_detail *detail, const struct key_answer *answer)
{
    detail->value_id = 0;
    free(detail->failure);
    detail->failure = answer->error == NULL ? NULL : mem_strdup(answer->error);
    if (answer->error != NULL) return;
    detail->answered = answer->now;
    if (answer->kv_count == 0) {
        detail->state = KEY_DETAIL_GONE;
        clear_history(detail);
        return;
    }
    bool changed =
        detail->state != KEY_DETAIL_THERE || detail->now.mod_revision != answer->kvs[0]->mod_revision;
    detail->state = KEY_DETAIL_THERE;
    if (!changed) return;
    clear_history(detail);
    take_version(&detail->now, answer->kvs[0]);
}

static void take_history(struct key_detail *detail, const struct key_answer *answer)
{
    detail->history_id = 0;
    if (answer->error != NULL || answer->kv_count == 0) {
        detail->history_ended = true;
        detail->history_end =
            answer->is_compacted ? "older ones are compacted away" : "older ones cannot be read";
        return;
    }
    struct key_version *version = &detail->history[detail->history_count++];
    *version = (struct key_version){.version = 0};
    take_version(version, answer->kvs[0]);
}

void key_detail_answer(struct key_detail *detail, const struct key_answer *answer)
{
    if (answer->id == 0) return;
    if (answer->id == detail->value_id)
        take_value(detail, answer);
    else if (answer->id == detail->history_id)
        take_history(detail, answer);
}
