#include "shell/load.h"

#include "api/message.h"
#include "base/memory.h"
#include "base/rng.h"
#include "client/endpoint.h"
#include "net/http1.h"
#include "net/loop.h"
#include "net/tls.h"

#include "rpc.pb-c.h"

#include <math.h>
#include <stdlib.h>

#define SECOND INT64_C(1000000000)

struct worker {
    struct load *load;
    struct client *client;
    int64_t started;
};

struct load {
    const struct load_plan *plan;
    struct load_result *result;
    struct rng rng;
    struct worker *workers;
    struct worker **idle;
    size_t idle_count;
    uint64_t sent, finished;
    int64_t start, last;
    double sum, sum_of_squares;
    struct buf key, value;
};

static void count_error(struct load_result *result, const struct client_error *error)
{
    struct buf text = {0};
    client_error_format(&text, error);
    size_t i = 0;
    while (i < result->error_count && strcmp(result->errors[i].text, buf_string(&text)) != 0) i++;
    if (i == LOAD_ERRORS_MAX) i--;
    if (i == result->error_count) {
        result->errors[i] = (struct load_error){.text = mem_strdup(buf_string(&text))};
        result->error_count++;
    }
    result->errors[i].count++;
    buf_deinit(&text);
}

static void on_answer(void *context, struct client_reply *reply)
{
    struct worker *worker = context;
    struct load *load = worker->load;
    int64_t now = client_now();
    double took = (double)(now - worker->started) / (double)SECOND;
    if (reply->error != NULL) {
        count_error(load->result, reply->error);
    } else {
        load->result->answered++;
        load->sum += took;
        load->sum_of_squares += took * took;
        if (took > load->result->slowest) load->result->slowest = took;
    }
    load->finished++;
    load->last = now;
    load->idle[load->idle_count++] = worker;
}

static void fill_randomly(struct load *load, struct buf *bytes, size_t from)
{
    for (size_t i = from; i < bytes->size; i++) bytes->data[i] = (uint8_t)rng_next(&load->rng);
}

static void send_put(struct load *load, int64_t now)
{
    struct worker *worker = load->idle[--load->idle_count];
    fill_randomly(load, &load->key, strlen(load->plan->prefix));
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.key = message_binary(buf_bytes(&load->key));
    request.value = message_binary(buf_bytes(&load->value));
    worker->started = now;
    load->sent++;
    client_call(worker->client, CLIENT_PUT, &request.base, NULL, on_answer, worker);
}

/* Whether the next put is to be sent now. */
static bool is_due(const struct load *load, int64_t now)
{
    const struct load_plan *plan = load->plan;
    if (load->idle_count == 0 || load->sent == plan->puts) return false;
    if (plan->duration > 0 && now - load->start > plan->duration) return false;
    if (plan->rate == 0) return true;
    double due = (double)load->sent / (double)plan->rate * (double)SECOND;
    return (double)(now - load->start) >= due;
}

static bool is_over(const struct load *load, int64_t now)
{
    bool no_more = load->sent == load->plan->puts ||
                   (load->plan->duration > 0 && now - load->start > load->plan->duration);
    return no_more && load->finished == load->sent;
}

static void finish(struct load *load)
{
    struct load_result *result = load->result;
    result->seconds = (double)(load->last - load->start) / (double)SECOND;
    if (result->answered == 0) return;
    double count = (double)result->answered, mean = load->sum / count;
    double variance = load->sum_of_squares / count - mean * mean;
    result->deviation = variance > 0 ? sqrt(variance) : 0;
}

static void work(struct load *load, struct loop *loop, bool (*stop)(void *context),
                 void (*progress)(void *context, double share), void *context)
{
    enum { NAP = 1000000 };
    load->start = load->last = client_now();
    int64_t told = load->start;
    for (int64_t now = load->start; !is_over(load, now) && !stop(context); now = client_now()) {
        while (is_due(load, now)) send_put(load, now);
        if (now - told > SECOND) {
            progress(context, (double)load->finished / (double)load->plan->puts);
            told = now;
        }
        loop_run_once(loop, NAP);
    }
    finish(load);
}

struct error *load_run(const struct load_plan *plan, const struct client_options *options,
                       bool (*stop)(void *context), void (*progress)(void *context, double share),
                       void *context, struct load_result *result)
{
    *result = (struct load_result){.answered = 0};
    struct loop *loop = loop_new();
    struct load load = {
        .plan = plan,
        .result = result,
        .workers = mem_zalloc(plan->clients, sizeof(struct worker)),
        .idle = mem_zalloc(plan->clients, sizeof(struct worker *)),
    };
    rng_init(&load.rng, (uint64_t)client_now());
    size_t prefix = strlen(plan->prefix);
    buf_append(&load.key, plan->prefix, prefix);
    memset(buf_reserve(&load.key, plan->key_size), 0, plan->key_size);
    load.key.size += plan->key_size;
    memset(buf_reserve(&load.value, plan->value_size), 0, plan->value_size);
    load.value.size = plan->value_size;
    fill_randomly(&load, &load.value, 0);
    struct error *error = NULL;
    for (size_t i = 0; i < plan->clients && error == NULL; i++) {
        load.workers[i].load = &load;
        error = client_new(loop, options, &load.workers[i].client);
        if (error == NULL) load.idle[load.idle_count++] = &load.workers[i];
    }
    if (error == NULL) work(&load, loop, stop, progress, context);
    for (size_t i = 0; i < plan->clients; i++) client_free(load.workers[i].client);
    loop_free(loop);
    buf_deinit(&load.key);
    buf_deinit(&load.value);
    free(load.workers);
    free(load.idle);
    return error;
}

void load_result_deinit(struct load_result *result)
{
    for (size_t i = 0; i < result->error_count; i++) free(result->errors[i].text);
    result->error_count = 0;
}

/* ---- Metrics ---- */

enum { METRICS_SIZE_MAX = 16 * 1024 * 1024 };

struct metrics_page {
    int status;
    bool done;
    struct buf body;
    struct error *error;
};

static void on_done(struct http1_client_request *request, const struct error *error)
{
    struct metrics_page *page = http1_client_request_context(request);
    page->done = true;
    page->status = http1_client_request_status(request);
    buf_append_bytes(&page->body, http1_client_request_body(request));
    if (error != NULL) page->error = error_new(error->kind, "%s", error->text);
}

static const struct http1_client_handler metrics_handler = {.on_done = on_done};

static void fetch(const struct endpoint *endpoint, const struct transport_security *security, int64_t timeout,
                  struct metrics_page *page)
{
    struct loop *loop = loop_new();
    struct http1_client *client =
        http1_client_new(loop, &(struct http1_client_config){.address = endpoint->address,
                                                             .security = security,
                                                             .server_name = endpoint->server_name,
                                                             .connect_timeout = timeout});
    http1_client_request(client, &(struct http1_client_options){
                                     .method = "GET",
                                     .target = "/metrics",
                                     .deadline = client_deadline_after(timeout),
                                     .gather_limit = METRICS_SIZE_MAX,
                                     .handler = &metrics_handler,
                                     .context = page,
                                 });
    while (!page->done) loop_run_once(loop, -1);
    http1_client_free(client);
    loop_free(loop);
}

static struct error *find_sample(struct metrics_page *page, const char *name, double *value)
{
    if (page->error != NULL) return page->error;
    if (page->status != 200) return error_new(ERROR_OTHER, "status %d", page->status);
    size_t size = strlen(name);
    const char *line = buf_string(&page->body);
    while (*line != 0) {
        if (strncmp(line, name, size) == 0 && line[size] == ' ') {
            *value = strtod(line + size, NULL);
            return NULL;
        }
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return error_new(ERROR_NOT_FOUND, "there is no %s", name);
}

struct error *load_read_metric(const struct client_options *options, const char *name, int64_t timeout,
                               double *value)
{
    struct endpoint where;
    const char *endpoint = options->endpoints[0];
    if (!endpoint_parse(endpoint, &where)) return error_new(ERROR_INVALID, "%s is no endpoint", endpoint);
    struct metrics_page page = {.status = 0};
    struct tls *tls = NULL;
    struct error *error = NULL;
    if (client_wants_tls(options, &where)) error = client_tls_new(&options->tls, &log_discard, &tls);
    if (error == NULL) {
        fetch(&where, tls == NULL ? NULL : tls_http1_security(tls), timeout, &page);
        error = find_sample(&page, name, value);
    }
    tls_free(tls);
    endpoint_deinit(&where);
    buf_deinit(&page.body);
    return error == NULL ? NULL : error_wrap(error, "read metrics of %s", endpoint);
}
