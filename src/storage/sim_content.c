#include "storage/sim_content.h"

#include "base/list.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 4096 };

/* A sector that differs, or may differ, from what is on the platter. */
struct sim_sector {
    uint64_t number;
    uint64_t write; /* the last write that touched it */
    bool forgotten; /* a sync failed: clean in the page cache, old on the platter */
    bool has_previous;
    uint8_t durable[FS_SIM_SECTOR];
    uint8_t previous[FS_SIM_SECTOR]; /* the version before the last write, when that is not the durable one */
    UT_hash_handle hh;
};

static uint64_t page_up(uint64_t size)
{
    return (size + PAGE - 1) / PAGE * PAGE;
}

static void check_system(bool worked)
{
    /* Address space is all that can run out here; a test has no answer to that. */
    if (!worked) abort();
}

static bool is_touched(const struct sim_content *content, uint64_t page)
{
    return (content->touched[page / 8] >> (page % 8) & 1) != 0;
}

static void set_touched(struct sim_content *content, uint64_t page, bool touched)
{
    uint8_t bit = (uint8_t)(1U << (page % 8));
    if (touched)
        content->touched[page / 8] = (uint8_t)(content->touched[page / 8] | bit);
    else
        content->touched[page / 8] = (uint8_t)(content->touched[page / 8] & ~bit);
}

void sim_content_init(struct sim_content *content, uint64_t reserved)
{
    reserved = page_up(reserved);
    assert(reserved > 0);
    void *data = mmap(NULL, (size_t)reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check_system(data != MAP_FAILED);
    *content = (struct sim_content){.data = data,
                                    .reserved = reserved,
                                    .touched = mem_zalloc((size_t)(reserved / PAGE / 8 + 1), 1)};
}

static void forget_unsynced(struct sim_content *content)
{
    struct sim_sector *sector, *next;
    HASH_ITER (hh, content->unsynced, sector, next) {
        HASH_DEL(content->unsynced, sector);
        free(sector);
    }
}

void sim_content_deinit(struct sim_content *content)
{
    forget_unsynced(content);
    check_system(munmap(content->data, (size_t)content->reserved) == 0);
    free(content->touched);
    *content = (struct sim_content){0};
}

/* Gives or takes access so that exactly the pages of the file can be touched. */
static void set_accessible(struct sim_content *content, uint64_t size)
{
    uint64_t end = page_up(size);
    assert(end <= content->reserved);
    if (end > content->accessible) {
        check_system(mprotect(content->data + content->accessible, (size_t)(end - content->accessible),
                              PROT_READ | PROT_WRITE) == 0);
    } else if (end < content->accessible) {
        uint8_t *from = content->data + end;
        size_t length = (size_t)(content->accessible - end);
        check_system(madvise(from, length, MADV_DONTNEED) == 0);
        check_system(mprotect(from, length, PROT_NONE) == 0);
        for (uint64_t page = end / PAGE; page < content->accessible / PAGE; page++)
            set_touched(content, page, false);
    }
    content->accessible = end;
}

/* Zeros from `size` to the end of its page, and nothing accessible behind. */
static void set_size(struct sim_content *content, uint64_t size)
{
    if (size < content->size && size % PAGE != 0 && is_touched(content, size / PAGE))
        memset(content->data + size, 0, (size_t)(page_up(size) - size));
    set_accessible(content, size);
    content->size = size;
}

void sim_content_copy(struct sim_content *to, const struct sim_content *from)
{
    sim_content_init(to, from->reserved);
    set_accessible(to, from->size);
    to->size = from->size;
    to->durable_size = from->durable_size;
    to->writes = from->writes;
    for (uint64_t page = 0; page < from->accessible / PAGE; page++) {
        if (!is_touched(from, page)) continue;
        memcpy(to->data + page * PAGE, from->data + page * PAGE, PAGE);
        set_touched(to, page, true);
    }
    for (const struct sim_sector *sector = from->unsynced; sector != NULL; sector = sector->hh.next) {
        struct sim_sector *copy = mem_dup(sector, sizeof(*sector));
        HASH_ADD(hh, to->unsynced, number, sizeof(copy->number), copy);
    }
}

/* The sector as it is now; zeros behind the end. */
static void read_sector(const struct sim_content *content, uint64_t number, uint8_t *data)
{
    uint64_t offset = number * FS_SIM_SECTOR;
    if (offset < content->accessible && is_touched(content, offset / PAGE))
        memcpy(data, content->data + offset, FS_SIM_SECTOR);
    else
        memset(data, 0, FS_SIM_SECTOR);
}

/* Called before a sector changes. */
static void remember_sector(struct sim_content *content, uint64_t number)
{
    struct sim_sector *sector = NULL;
    HASH_FIND(hh, content->unsynced, &number, sizeof(number), sector);
    if (sector == NULL) {
        sector = mem_zalloc(1, sizeof(*sector));
        sector->number = number;
        read_sector(content, number, sector->durable);
        HASH_ADD(hh, content->unsynced, number, sizeof(sector->number), sector);
    } else {
        read_sector(content, number, sector->previous);
        sector->has_previous = !sector->forgotten;
        sector->forgotten = false;
    }
    sector->write = content->writes;
}

void sim_content_write(struct sim_content *content, const void *data, size_t size, uint64_t offset)
{
    if (size == 0) return;
    assert(offset <= content->reserved && size <= content->reserved - offset);
    uint64_t end = offset + size;
    content->writes++;
    for (uint64_t number = offset / FS_SIM_SECTOR; number <= (end - 1) / FS_SIM_SECTOR; number++)
        remember_sector(content, number);
    if (end > content->size) set_size(content, end);
    for (uint64_t page = offset / PAGE; page <= (end - 1) / PAGE; page++) set_touched(content, page, true);
    memcpy(content->data + offset, data, size);
}

void sim_content_resize(struct sim_content *content, uint64_t size)
{
    assert(size <= content->reserved);
    if (size < content->size) {
        content->writes++;
        uint64_t end = content->size;
        for (uint64_t number = size / FS_SIM_SECTOR; number * FS_SIM_SECTOR < end; number++)
            if (is_touched(content, number * FS_SIM_SECTOR / PAGE)) remember_sector(content, number);
    }
    set_size(content, size);
}

void sim_content_sync(struct sim_content *content)
{
    struct sim_sector *sector, *next;
    HASH_ITER (hh, content->unsynced, sector, next) {
        if (sector->forgotten) continue;
        HASH_DEL(content->unsynced, sector);
        free(sector);
    }
    content->durable_size = content->size;
}

void sim_content_sync_failed(struct sim_content *content, struct rng *rng)
{
    struct sim_sector *sector, *next;
    HASH_ITER (hh, content->unsynced, sector, next) {
        if (sector->forgotten) continue;
        if (rng_chance(rng, 1, 2)) {
            HASH_DEL(content->unsynced, sector);
            free(sector);
        } else {
            sector->forgotten = true;
            sector->has_previous = false;
        }
    }
}

/* Which version of a sector the platter has. The sectors of one write share its fate, unless it is torn. */
static const uint8_t *surviving_version(const struct sim_sector *sector, enum fs_sim_crash_mode mode,
                                        uint64_t salt)
{
    if (sector->forgotten) return sector->durable;
    if (mode == FS_SIM_KEEP_ALL) return NULL;
    if (mode == FS_SIM_LOSE_ALL) return sector->durable;
    struct rng fate;
    rng_init(&fate, salt + sector->write * 0x9e3779b97f4a7c15U);
    uint64_t choice = rng_below(&fate, 3);
    if (choice == 2) {
        rng_init(&fate, salt ^ (sector->number * 2 + 1) * 0xd1342543de82ef95U);
        choice = rng_below(&fate, 2);
    }
    if (choice == 0) return NULL;
    if (sector->has_previous && rng_chance(&fate, 1, 2)) return sector->previous;
    return sector->durable;
}

static uint64_t surviving_size(const struct sim_content *content, enum fs_sim_crash_mode mode,
                               struct rng *rng)
{
    if (mode == FS_SIM_KEEP_ALL || content->size == content->durable_size) return content->size;
    if (mode == FS_SIM_LOSE_ALL) return content->durable_size;
    uint64_t choice = rng_below(rng, content->size > content->durable_size ? 3 : 2);
    if (choice == 0) return content->durable_size;
    if (choice == 1) return content->size;
    return content->durable_size + rng_below(rng, content->size - content->durable_size);
}

void sim_content_crash(struct sim_content *content, enum fs_sim_crash_mode mode, struct rng *rng)
{
    uint64_t salt = rng_next(rng);
    uint64_t size = surviving_size(content, mode, rng);
    if (size > content->size) set_size(content, size);
    for (const struct sim_sector *sector = content->unsynced; sector != NULL; sector = sector->hh.next) {
        uint64_t offset = sector->number * FS_SIM_SECTOR;
        const uint8_t *version = surviving_version(sector, mode, salt);
        if (version == NULL || offset >= content->accessible) continue;
        set_touched(content, offset / PAGE, true);
        memcpy(content->data + offset, version, FS_SIM_SECTOR);
    }
    forget_unsynced(content);
    /* What a lost shrinking brought back lies behind the end now, or the end was moved. */
    content->size = content->accessible;
    set_size(content, size);
    content->durable_size = size;
}

void sim_content_flip(struct sim_content *content, uint64_t offset, uint8_t bits)
{
    assert(offset < content->size);
    set_touched(content, offset / PAGE, true);
    content->data[offset] ^= bits;
    uint64_t number = offset / FS_SIM_SECTOR;
    struct sim_sector *sector = NULL;
    HASH_FIND(hh, content->unsynced, &number, sizeof(number), sector);
    if (sector == NULL) return;
    sector->durable[offset % FS_SIM_SECTOR] ^= bits;
    sector->previous[offset % FS_SIM_SECTOR] ^= bits;
}

uint64_t sim_content_unsynced(const struct sim_content *content)
{
    return HASH_COUNT(content->unsynced) + (content->size != content->durable_size ? 1 : 0);
}
