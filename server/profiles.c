#include "server/profiles.h"

#include "config.h"
#include "server/http_endpoints.h"

#include <dirent.h>
#include <malloc.h>
#include <nghttp2/nghttp2.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

void profiles_command_line(struct buf *words)
{
    FILE *file = fopen("/proc/self/cmdline", "re");
    if (file == NULL) return;
    words->size += fread(buf_reserve(words, 65536), 1, 65536, file);
    fclose(file);
}

static void write_command_line(struct buf *out, struct http_endpoints *endpoints)
{
    (void)endpoints;
    profiles_command_line(out);
    if (out->size > 0) out->size--; /* as Go: zeros between the words only */
}

/* The sums, then malloc_info's XML: every arena with what lies free in it. */
static void write_heap(struct buf *out, struct http_endpoints *endpoints)
{
    struct mallinfo2 heap = mallinfo2();
    char *text = NULL;
    size_t size = 0;
    (void)endpoints;
    buf_printf(out,
               "in use          %12zu bytes\nfree            %12zu bytes\nfrom the system %12zu bytes\n\n",
               heap.uordblks + heap.hblkhd, heap.fordblks, heap.arena + heap.hblkhd);
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL) return;
    malloc_info(0, stream);
    fclose(stream);
    buf_append(out, text, size);
    free(text);
}

/* One line of /proc/self/task/ID/stat: name in parentheses, state, and behind them user and system ticks. */
static void write_thread(struct buf *out, const char *id)
{
    char path[64], line[1024], name[32], state;
    unsigned long user, system;
    snprintf(path, sizeof(path), "/proc/self/task/%.20s/stat", id);
    FILE *file = fopen(path, "re");
    if (file == NULL) return;
    bool ok = fgets(line, sizeof(line), file) != NULL;
    fclose(file);
    const char *after = ok ? strrchr(line, ')') : NULL;
    const char *open = ok ? strchr(line, '(') : NULL;
    if (after == NULL || open == NULL) return;
    snprintf(name, sizeof(name), "%.*s", (int)(after - open - 1), open + 1);
    if (sscanf(after + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &state, &user, &system) != 3)
        return;
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    buf_printf(out, "%8s  %-16s %c %10.2f %10.2f\n", id, name, state, (double)user * tick,
               (double)system * tick);
}

static void write_threads(struct buf *out, struct http_endpoints *endpoints)
{
    struct rusage usage;
    DIR *folder = opendir("/proc/self/task");
    (void)endpoints;
    buf_append_string(out, "      id  name             state  user s   system s\n");
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.') write_thread(out, entry->d_name);
    if (folder != NULL) closedir(folder);
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        buf_printf(out, "\ncontext switches: %ld waited, %ld were taken off the processor\n", usage.ru_nvcsw,
                   usage.ru_nivcsw);
}

static void write_queues(struct buf *out, struct http_endpoints *endpoints)
{
    struct metrics_sources *sources = endpoints->metrics;
    struct node_metrics *node = engine_node_metrics(endpoints->engine);
    buf_printf(out, "tasks waiting for the node        %10zu\n", engine_waiting(endpoints->engine));
    buf_printf(out, "proposals not yet applied         %10lld\n",
               (long long)metric_gauge_read(&node->proposals_pending));
    buf_printf(out, "entries committed, not applied    %10lld\n",
               (long long)(metric_gauge_read(&node->proposals_committed) -
                           metric_gauge_read(&node->proposals_applied)));
    for (size_t i = 0; i < sources->grpc_count; i++)
        buf_printf(out, "I/O loop %zu: connections %lld, calls %lld\n", i,
                   (long long)metric_gauge_read(&sources->grpc[i]->connections),
                   (long long)metric_gauge_read(&sources->grpc[i]->calls));
}

static void write_build(struct buf *out, struct http_endpoints *endpoints)
{
    buf_printf(out, "%s %s, as etcd %s\ncompiler  %s\nlibuv     %s\nnghttp2   %s\nOpenSSL   %s\n",
               PACKAGE_NAME, PACKAGE_VERSION, endpoints->version, __VERSION__, uv_version_string(),
               nghttp2_version(0)->version_str, OpenSSL_version(OPENSSL_VERSION));
}

static const struct {
    const char *name;
    const char *help;
    void (*write)(struct buf *out, struct http_endpoints *endpoints);
} pages[] = {
    {"cmdline", "the words of the command line", write_command_line},
    {"heap", "the allocator's statistics", write_heap},
    {"allocs", "the same", write_heap},
    {"goroutine", "the threads, their states and times", write_threads},
    {"threadcreate", "the same", write_threads},
    {"queues", "what waits", write_queues},
    {"buildinfo", "what the program was built of", write_build},
};

enum { PAGES = sizeof(pages) / sizeof(pages[0]) };

static void write_hint(struct buf *out)
{
    buf_printf(
        out,
        "Processor profiles, traces, lock contention: perf record -g -p %d -- sleep 30; perf trace -p %d; "
        "perf lock\n",
        (int)getpid(), (int)getpid());
}

static void write_index(struct buf *out)
{
    buf_append_string(
        out, "This program is not written in Go and has no profiles of Go's kind. Instead, here:\n\n");
    for (size_t i = 0; i < PAGES; i++) buf_printf(out, "%-14s%s\n", pages[i].name, pages[i].help);
    buf_append_byte(out, '\n');
    write_hint(out);
}

static void serve(struct http_exchange *exchange)
{
    static const struct bytes prefix = BYTES_LITERAL("/debug/pprof/");
    struct http_endpoints *endpoints = http_request(exchange)->context;
    struct bytes path = http_request(exchange)->path;
    struct bytes name = bytes_of(path.data + prefix.size, path.size - prefix.size);
    struct buf body = {0};
    if (!endpoints->enable_pprof) {
        http_error(exchange, 404, "404 page not found");
        return;
    }
    for (size_t i = 0; i < PAGES; i++)
        if (bytes_equal(name, bytes_from_string(pages[i].name))) pages[i].write(&body, endpoints);
    if (name.size == 0) write_index(&body);
    if (body.size == 0) {
        buf_append_string(&body, "This program is not written in Go and has no such profile.\n");
        write_hint(&body);
        http_error(exchange, 501, buf_string(&body));
    } else {
        http_respond(exchange, 200, "text/plain; charset=utf-8", buf_bytes(&body));
    }
    buf_deinit(&body);
}

const struct http_handler profiles_handler = {.on_end = serve};
