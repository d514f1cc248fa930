/* slow_link: a cable that takes time and loses frames, for kernels whose tc has no netem.
 *
 *     slow_link NAMESPACE DEVICE OTHER-DEVICE LIMIT
 *
 * makes DEVICE in the network namespace of that name and OTHER-DEVICE in its own, both down, says "ready" and
 * carries Ethernet frames from one to the other. A line of its input sets one direction, for the frames that
 * come from then on:
 *
 *     out delay 20 jitter 5 loss 1
 *
 * out: what DEVICE sends; in: what it receives. Milliseconds and percent, fractions too: a frame takes delay
 * - jitter to delay + jitter, every value as likely as any other, or is lost. It answers "ok", or what is
 * wrong with the line; the caller waits for the answer before it writes the next one. The devices are gone
 * when its input ends.
 *
 * A cable does not reorder: a frame that drew a short delay waits for those before it. At most LIMIT frames
 * of a direction are under way; those that come on top are lost, as with netem's limit. Needs root and
 * /dev/net/tun. */
#include "base/memory.h"
#include "base/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
    LIMIT_MAX = 65536, /* frames */
    FRAME_MAX = 2048,  /* bytes; the devices' MTU stays at 1500 */
    BATCH_MAX = 64,    /* frames read before others have their turn */
    LINE_SIZE = 200,
};

static const int64_t MILLISECOND = 1000000;
static const int64_t SECOND = 1000000000;
static const uint64_t MILLION = 1000000;

struct frame {
    int64_t due;
    size_t size;
    unsigned char data[];
};

struct direction {
    int from;
    int to;
    int64_t delay;  /* ns */
    int64_t jitter; /* ns, at most delay */
    uint64_t loss;  /* frames of a million */
    /* Those under way: `count` of a ring of `limit`, from `first` on. */
    struct frame **frames;
    size_t limit;
    size_t first;
    size_t count;
};

enum way { OUT, IN, WAYS };

static const char *const way_names[WAYS] = {"out", "in"};

static void die(const char *what)
{
    fprintf(stderr, "slow_link: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static int open_tap(const char *name)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) die("/dev/net/tun");
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    if (strlen(name) >= sizeof request.ifr_name) {
        errno = ENAMETOOLONG;
        die(name);
    }
    memcpy(request.ifr_name, name, strlen(name));
    if (ioctl(fd, TUNSETIFF, &request) < 0) die(name);
    return fd;
}

static int open_tap_in(const char *namespace, const char *name)
{
    char *path = mem_printf("/run/netns/%s", namespace);
    int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    if (here < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0) die(path);
    int fd = open_tap(name);
    if (setns(here, CLONE_NEWNET) < 0) die("/proc/self/ns/net");
    close(here);
    close(there);
    free(path);
    return fd;
}

/* What cannot be written (a device that is down or full) is lost. */
static void carry(const struct direction *way, const unsigned char *data, size_t size)
{
    ssize_t written = write(way->to, data, size);
    if (written < 0 && errno == EBADFD) die("a device is gone");
}

static int64_t drawn_delay(const struct direction *way, struct rng *rng)
{
    if (way->jitter == 0) return way->delay;
    return way->delay - way->jitter + (int64_t)rng_below(rng, 2 * (uint64_t)way->jitter + 1);
}

static struct frame **slot(const struct direction *way, size_t index)
{
    return &way->frames[(way->first + index) % way->limit];
}

static void take(struct direction *way, struct rng *rng, const unsigned char *data, size_t size)
{
    if (rng_chance(rng, way->loss, MILLION)) return;
    if (way->count == 0 && way->delay == 0) {
        carry(way, data, size);
        return;
    }
    if (way->count == way->limit) return;
    int64_t due = now_ns() + drawn_delay(way, rng);
    if (way->count > 0) {
        int64_t before = (*slot(way, way->count - 1))->due;
        if (due < before) due = before;
    }
    struct frame *frame = mem_alloc(sizeof *frame + size);
    frame->due = due;
    frame->size = size;
    memcpy(frame->data, data, size);
    *slot(way, way->count++) = frame;
}

static void receive(struct direction *way, struct rng *rng)
{
    unsigned char data[FRAME_MAX];
    for (int count = 0; count < BATCH_MAX; count++) {
        ssize_t size = read(way->from, data, sizeof data);
        if (size < 0 && errno != EAGAIN && errno != EINTR) die("a device is gone");
        if (size <= 0) return;
        take(way, rng, data, (size_t)size);
    }
}

static void drop_first(struct direction *way)
{
    free(*slot(way, 0));
    way->first = (way->first + 1) % way->limit;
    way->count--;
}

/* When the next one is due; INT64_MAX: nothing is under way. */
static int64_t deliver(struct direction *way)
{
    int64_t now = now_ns();
    while (way->count > 0) {
        const struct frame *frame = *slot(way, 0);
        if (frame->due > now) return frame->due;
        carry(way, frame->data, frame->size);
        drop_first(way);
    }
    return INT64_MAX;
}

static const char *set(struct direction ways[WAYS], const char *line)
{
    char name[4];
    double delay, jitter, loss;
    if (sscanf(line, "%3s delay %lf jitter %lf loss %lf", name, &delay, &jitter, &loss) != 4)
        return "expected: out|in delay MS jitter MS loss PERCENT";
    if (!(delay >= 0 && delay <= 60000)) return "a delay is 0 to 60000 ms";
    if (!(jitter >= 0 && jitter <= delay)) return "a jitter is 0 to the delay";
    if (!(loss >= 0 && loss <= 100)) return "a loss is 0 to 100 percent";
    for (int way = 0; way < WAYS; way++) {
        if (strcmp(name, way_names[way]) != 0) continue;
        ways[way].delay = (int64_t)(delay * (double)MILLISECOND);
        ways[way].jitter = (int64_t)(jitter * (double)MILLISECOND);
        ways[way].loss = (uint64_t)(loss * (double)MILLION / 100);
        return "ok";
    }
    return "a direction is out or in";
}

static void run(struct direction ways[WAYS], struct rng *rng)
{
    char line[LINE_SIZE];
    struct pollfd polled[WAYS + 1] = {[OUT] = {.fd = ways[OUT].from, .events = POLLIN},
                                      [IN] = {.fd = ways[IN].from, .events = POLLIN},
                                      [WAYS] = {.fd = STDIN_FILENO, .events = POLLIN}};
    for (;;) {
        int64_t due = INT64_MAX;
        for (int way = 0; way < WAYS; way++) {
            int64_t next = deliver(&ways[way]);
            if (next < due) due = next;
        }
        int64_t wait = due == INT64_MAX ? 0 : due - now_ns();
        if (wait < 0) wait = 0;
        struct timespec timeout = {.tv_sec = wait / SECOND, .tv_nsec = wait % SECOND};
        if (ppoll(polled, WAYS + 1, due == INT64_MAX ? NULL : &timeout, NULL) < 0) {
            if (errno == EINTR) continue;
            die("ppoll");
        }
        for (int way = 0; way < WAYS; way++) {
            if (polled[way].revents != 0) receive(&ways[way], rng);
        }
        if (polled[WAYS].revents != 0) {
            if (fgets(line, sizeof line, stdin) == NULL) return;
            puts(set(ways, line));
        }
    }
}

int main(int count, char *words[])
{
    long limit = count == 5 ? strtol(words[4], NULL, 10) : 0;
    if (limit <= 0 || limit > LIMIT_MAX) {
        fprintf(stderr, "usage: slow_link NAMESPACE DEVICE OTHER-DEVICE LIMIT\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct rng rng;
    rng_init(&rng, (uint64_t)now_ns());
    int device = open_tap_in(words[1], words[2]);
    int other = open_tap(words[3]);
    struct direction ways[WAYS] = {
        [OUT] = {.from = device, .to = other}, [IN] = {.from = other, .to = device}};
    for (int way = 0; way < WAYS; way++) {
        ways[way].limit = (size_t)limit;
        ways[way].frames = mem_zalloc((size_t)limit, sizeof(struct frame *));
    }
    puts("ready");
    run(ways, &rng);
    for (int way = 0; way < WAYS; way++) {
        while (ways[way].count > 0) drop_first(&ways[way]);
        free(ways[way].frames);
    }
    close(device);
    close(other);
    return 0;
}
