/* Every metric of one member, with what it changes by; the filter finds one. Histograms' buckets are left
 * out: their sums and counts are there. */
#include "base/memory.h"
#include "tui/metrics_text.h"
#include "tui/sheet.h"
#include "tui/units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct sample {
    char *name; /* with its labels */
    double value, rate;
};

struct metrics {
    struct sheet sheet;
    uint64_t serial; /* of the member; 0: the first */
    struct sample *samples;
    size_t count;
    int64_t at; /* monotonic; 0: nothing has come */
    char why[MODEL_TEXT];
    bool wanted;
    uint64_t next_id;
};

static struct metrics *metrics_of(const struct view *view)
{
    return (struct metrics *)(uintptr_t)view;
}

static void drop(struct sample *samples, size_t count)
{
    for (size_t i = 0; i < count; i++) free(samples[i].name);
    free(samples);
}

static void forget(struct metrics *metrics)
{
    drop(metrics->samples, metrics->count);
    metrics->samples = NULL;
    metrics->count = 0;
    metrics->at = 0;
    metrics->wanted = true;
}

/* ---- the page that is read ---- */

static bool is_bucket(struct bytes name)
{
    static const struct bytes end = BYTES_LITERAL("_bucket");
    return name.size > end.size && memcmp(name.data + name.size - end.size, end.data, end.size) == 0;
}

static char *full_name(const struct metrics_line *line)
{
    struct buf name = {0};
    buf_append_bytes(&name, line->name);
    for (size_t i = 0; i < line->label_count; i++)
        buf_printf(&name, "%s%.*s=%.*s", i == 0 ? "{" : ",", (int)line->labels[i].name.size,
                   line->labels[i].name.data, (int)line->labels[i].value.size, line->labels[i].value.data);
    if (line->label_count > 0) buf_append_byte(&name, '}');
    return (char *)buf_take(&name, NULL);
}

/* Both lists have the same order, but for what is new: the search goes on where the last one ended. */
static double value_before(const struct metrics *before, size_t *at, const char *name)
{
    for (size_t i = 0; i < before->count; i++) {
        size_t k = (*at + i) % before->count;
        if (strcmp(before->samples[k].name, name) != 0) continue;
        *at = k + 1;
        return before->samples[k].value;
    }
    return NAN;
}

static void answer(struct view *view, const struct key_answer *answer)
{
    struct metrics *metrics = metrics_of(view), before = *metrics;
    if (answer->id != metrics->next_id) return; /* of another member */
    snprintf(metrics->why, sizeof(metrics->why), "%s", answer->error == NULL ? "" : answer->error);
    if (answer->error != NULL) return;
    struct buf samples = {0};
    struct bytes text = answer->page;
    struct metrics_line line;
    size_t at = 0;
    while (metrics_text_next(&text, &line)) {
        if (is_bucket(line.name)) continue;
        struct sample sample = {.name = full_name(&line), .value = line.value, .rate = NAN};
        double old = value_before(&before, &at, sample.name);
        if (before.at != 0) sample.rate = (line.value - old) * 1e9 / (double)(answer->now - before.at);
        buf_append(&samples, &sample, sizeof(sample));
    }
    metrics->count = samples.size / sizeof(struct sample);
    metrics->samples = (struct sample *)(void *)buf_take(&samples, NULL);
    metrics->at = answer->now;
    drop(before.samples, before.count);
}

static bool next_request(struct view *view, struct key_request *request)
{
    struct metrics *metrics = metrics_of(view);
    if (!metrics->wanted || metrics->serial == 0) return false;
    metrics->wanted = false;
    *request = (struct key_request){.id = ++metrics->next_id,
                                    .kind = KEY_REQUEST_METRICS,
                                    .member = metrics->serial};
    return true;
}

static void tick(struct view *view, struct app *app)
{
    (void)app;
    metrics_of(view)->wanted = true;
}

/* ---- the page that is shown ---- */

static void write_sample(struct page *page, const struct sample *sample)
{
    int y = page_row(page, NULL);
    if (y < 0) return;
    char text[32];
    int right = page->canvas->width - 25;
    canvas_left(page->canvas, 2, y, right - 3, STYLE_NORMAL, sample->name);
    snprintf(text, sizeof(text), "%.6g", sample->value);
    canvas_right(page->canvas, right, y, 14, STYLE_NORMAL, text);
    canvas_live(page->canvas, right, y, 14);
    if (isnan(sample->rate) || sample->rate == 0) return;
    snprintf(text, sizeof(text), "%+.3g/s", sample->rate);
    canvas_right(page->canvas, right + 15, y, 9, STYLE_DIM, text);
}

static const struct model_member *member_of(struct metrics *metrics, const struct model *model)
{
    const struct model_member *member =
        model_member_by_serial((struct model *)(uintptr_t)model, metrics->serial);
    if (member == NULL && model->member_count > 0) {
        forget(metrics);
        member = model->members[0];
        metrics->serial = member->serial;
    }
    return member;
}

static void write_page(struct sheet *sheet, struct page *page, const struct model *model)
{
    struct metrics *metrics = metrics_of(&sheet->view);
    (void)member_of(metrics, model);
    for (size_t i = 0; i < metrics->count; i++)
        if (sheet_passes(sheet, metrics->samples[i].name)) write_sample(page, &metrics->samples[i]);
    if (metrics->why[0] != 0)
        page_note(page, STYLE_WARNING, "not read: %s", metrics->why);
    else if (page->row_count == 0)
        page_note(page, STYLE_DIM, metrics->at == 0 ? "reading" : "nothing of that name");
}

static void headline(struct sheet *sheet, const struct model *model, struct buf *out)
{
    struct metrics *metrics = metrics_of(&sheet->view);
    const struct model_member *member = member_of(metrics, model);
    if (member != NULL) buf_printf(out, "of %s, %zu values", model_member_label(member).text, metrics->count);
}

static void run_next_member(struct view *view, struct app *app)
{
    struct metrics *metrics = metrics_of(view);
    const struct model *model = app_model(app);
    for (size_t i = 0; i < model->member_count; i++) {
        if (model->members[i]->serial != metrics->serial) continue;
        metrics->serial = model->members[(i + 1) % model->member_count]->serial;
        break;
    }
    forget(metrics);
}

static const struct binding bindings[] = {
    {{INPUT_TAB}, "Tab", "next", "the next member", BINDING_BOTTOM, run_next_member},
    SHEET_SIBLINGS,
    SHEET_BINDINGS,
};

static void free_metrics(struct view *view)
{
    drop(metrics_of(view)->samples, metrics_of(view)->count);
    sheet_free(view);
}

struct view *view_metrics_new(void)
{
    struct metrics *metrics = mem_zalloc(1, sizeof(*metrics));
    sheet_init(&metrics->sheet, "metrics", bindings, sizeof(bindings) / sizeof(bindings[0]));
    sheet_init_filter(&metrics->sheet);
    metrics->wanted = true;
    metrics->sheet.write = write_page;
    metrics->sheet.headline = headline;
    metrics->sheet.view.next_request = next_request;
    metrics->sheet.view.answer = answer;
    metrics->sheet.view.tick = tick;
    metrics->sheet.view.free = free_metrics;
    return &metrics->sheet.view;
}
