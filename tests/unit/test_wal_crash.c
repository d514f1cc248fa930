/* What is left of the write-ahead log after a crash or a fault at any operation. */
#include "tests/unit/wal_fixture.h"

#include <errno.h>

/* --- a story that is played on healthy and sick disks --- */

enum {
    STORY_STEPS = 14,
    STORY_ENTRIES_MAX = 3,
    STORY_RECORDS_MAX = STORY_STEPS * (STORY_ENTRIES_MAX + 1),
};

/* The log as it is after one more record. */
struct milestone {
    struct raft_hard_state hard_state;
    uint64_t terms[STORY_STEPS * STORY_ENTRIES_MAX]; /* of entry i + 1 */
    size_t count;
};

struct story {
    struct milestone milestones[STORY_RECORDS_MAX + 1];
    size_t written; /* milestones */
    size_t durable; /* what a sync that returned covered */
    bool created;
};

static size_t story_size(uint64_t term, uint64_t index)
{
    return (size_t)((index * 977 + term * 331) % 1500);
}

static struct raft_entry story_entry(uint64_t term, uint64_t index)
{
    size_t size = story_size(term, index);
    struct blob *data = blob_new(size);
    memset(data->data, (int)('a' + index % 26), size);
    return (struct raft_entry){.term = term, .index = index, .data = data};
}

static struct milestone *next_milestone(struct story *story)
{
    assert_in_range(story->written, 0, STORY_RECORDS_MAX - 1);
    story->milestones[story->written + 1] = story->milestones[story->written];
    return &story->milestones[++story->written];
}

/* One save of up to three entries, now and then replacing the last one in a new term, and a hard state. */
static struct error *story_save(struct wal *wal, struct story *story, uint64_t step, bool *must_sync)
{
    struct milestone *last = &story->milestones[story->written];
    uint64_t term = 1 + step / 4, first = last->count + 1, count = step % (STORY_ENTRIES_MAX + 1);
    if (step % 4 == 0 && last->count > 0 && step > 0) {
        first--;
        count++;
    }
    struct raft_entry entries[STORY_ENTRIES_MAX];
    for (uint64_t i = 0; i < count; i++) entries[i] = story_entry(term, first + i);
    struct raft_hard_state hard_state = {.term = term, .vote = 1, .commit = first - 1};
    struct error *error = wal_save(wal, &hard_state, entries, (size_t)count, must_sync);
    for (uint64_t i = 0; i < count; i++) {
        struct milestone *milestone = next_milestone(story);
        milestone->count = (size_t)(first + i);
        milestone->terms[first + i - 1] = term;
        blob_unref(entries[i].data);
    }
    next_milestone(story)->hard_state = hard_state;
    return error;
}

/* Two saves share one sync. Stops at the first error. */
static struct error *play(const struct wal_options *options, struct story *story)
{
    struct wal *wal = NULL;
    TRY(wal_create(options, directory, BYTES_LITERAL("metadata"), &wal));
    story->created = true;
    struct error *error = NULL;
    bool must_sync = false;
    for (uint64_t step = 0; step < STORY_STEPS && error == NULL; step++) {
        error = story_save(wal, story, step, &must_sync);
        if (step == 6 && error == NULL) error_free(wal_prepare(wal)); /* the cut tries again */
        if (step == 8 && error == NULL) error = wal_flush(wal);
        if (step % 2 == 0 || error != NULL) continue;
        error = wal_sync(wal);
        if (error == NULL) story->durable = story->written;
    }
    if (error == NULL) {
        error = wal_close(wal);
        if (error == NULL) story->durable = story->written;
        return error;
    }
    /* After a failure nothing works, and nothing pretends to. */
    struct error *later = wal_sync(wal);
    assert_non_null(later);
    error_free(later);
    error_free(wal_close(wal));
    return error;
}

static bool is_milestone(const struct wal_content *content, const struct milestone *milestone)
{
    if (content->entries.count != milestone->count) return false;
    if (!raft_hard_state_equal(content->hard_state, milestone->hard_state)) return false;
    for (size_t i = 0; i < milestone->count; i++) {
        const struct raft_entry *entry = &content->entries.items[i];
        assert_int_equal(entry->index, i + 1);
        if (entry->term != milestone->terms[i]) return false;
        struct raft_entry expected = story_entry(entry->term, entry->index);
        assert_true(bytes_equal(blob_bytes(entry->data), blob_bytes(expected.data)));
        blob_unref(expected.data);
    }
    return true;
}

/* What was found is the story up to some point, not before the last sync that returned. */
static void check_found(const struct story *story, const struct wal_content *content)
{
    assert_memory_equal(content->metadata.data, "metadata", 8);
    for (size_t i = story->durable; i <= story->written; i++)
        if (is_milestone(content, &story->milestones[i])) return;
    fail_msg("%zu entries, commit %llu: not a point of the story between %zu and %zu", content->entries.count,
             (unsigned long long)content->hard_state.commit, story->durable, story->written);
}

/* The next start: what is there is right, it can be added to, and the start after that finds the same and the
 * addition. */
static void check_recovery(const struct wal_options *options, const struct story *story)
{
    struct wal *wal = NULL;
    struct wal_content content = {0}, again = {0};
    bool exists = false;
    must(wal_exists(options->fs, directory, &exists));
    if (!exists) {
        assert_false(story->created);
        return;
    }
    must(wal_recover(options, directory, 0, 0, &wal, &content));
    check_found(story, &content);
    struct raft_hard_state hard_state = {.term = 100, .vote = 2, .commit = content.entries.count};
    save(wal, hard_state, 100, content.entries.count + 1, BYTES_LITERAL("addition"));
    must(wal_sync(wal));
    must(wal_close(wal));
    must(wal_open(options, directory, 0, 0, &wal, &again));
    assert_int_equal(again.entries.count, content.entries.count + 1);
    assert_int_equal(again.entries.items[content.entries.count].term, 100);
    assert_true(raft_hard_state_equal(again.hard_state, hard_state));
    must(wal_close(wal));
    wal_content_deinit(&content);
    wal_content_deinit(&again);
}

static void a_healthy_story_reads_back_over_many_segments(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(1);
    struct wal_options options = options_of(sim, SMALL_SEGMENT);
    struct story story = {0};
    must(play(&options, &story));
    assert_int_equal(story.durable, story.written);
    char **names = NULL;
    size_t count = 0;
    must(fs_list(options.fs, directory, &names, &count));
    assert_in_range(count, 4, 10);
    for (size_t i = 0; i < count; i++) assert_non_null(strstr(names[i], ".wal")); /* no .tmp is left */
    fs_names_free(names, count);
    fs_sim_crash(sim, FS_SIM_LOSE_ALL);
    check_recovery(&options, &story);
    fs_sim_free(sim);
}

static void check_crashes(struct fs_sim *sim, const struct story *story, unsigned random_seeds)
{
    for (unsigned i = 0; i < random_seeds + 2; i++) {
        struct fs_sim *branch = fs_sim_clone(sim);
        struct wal_options options = options_of(branch, SMALL_SEGMENT);
        fs_sim_reseed(branch, i);
        fs_sim_crash(branch, i == 0 ? FS_SIM_LOSE_ALL : i == 1 ? FS_SIM_KEEP_ALL : FS_SIM_RANDOM);
        check_recovery(&options, story);
        fs_sim_free(branch);
    }
}

static void a_power_cut_at_any_operation_loses_nothing_synced(void **state)
{
    (void)state;
    struct story story;
    bool whole = false;
    uint64_t operation = 0;
    for (; !whole; operation++) {
        struct fs_sim *sim = new_disk(operation);
        struct wal_options options = options_of(sim, SMALL_SEGMENT);
        fs_sim_cut_power_after(sim, operation);
        story = (struct story){0};
        struct error *error = play(&options, &story);
        whole = error == NULL;
        error_free(error);
        check_crashes(sim, &story, 12);
        fs_sim_free(sim);
    }
    assert_true(operation > 40);
}

/* The recovery itself may be cut off, again and again. */
static void a_power_cut_during_recovery_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct fs_sim *sim = new_disk(seed);
        struct wal_options options = options_of(sim, SMALL_SEGMENT);
        fs_sim_cut_power_after(sim, 30 + seed);
        struct story story = {0};
        error_free(play(&options, &story));
        fs_sim_crash(sim, FS_SIM_RANDOM);
        for (uint64_t operation = 0; operation < 8; operation++) {
            struct wal *wal = NULL;
            struct wal_content content = {0};
            fs_sim_cut_power_after(sim, operation);
            struct error *error = wal_recover(&options, directory, 0, 0, &wal, &content);
            if (error == NULL) check_found(&story, &content);
            error_free(error);
            error_free(wal_close(wal));
            wal_content_deinit(&content);
            fs_sim_crash(sim, FS_SIM_RANDOM);
        }
        check_recovery(&options, &story);
        fs_sim_free(sim);
    }
}

static void a_killed_process_loses_nothing_written(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(3);
    struct wal_options options = options_of(sim, 0);
    struct wal *wal = NULL;
    must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    save(wal, (struct raft_hard_state){.term = 1}, 1, 1, BYTES_LITERAL("one"));
    must(wal_flush(wal));
    fs_sim_kill(sim);
    error_free(wal_close(wal));
    struct wal_content content = {0};
    must(wal_open(&options, directory, 0, 0, &wal, &content));
    assert_int_equal(content.entries.count, 1);
    must(wal_close(wal));
    wal_content_deinit(&content);
    fs_sim_free(sim);
}

static void check_fault(const struct fs_sim_fault *fault, uint64_t seed, bool *struck)
{
    struct fs_sim *sim = new_disk(seed);
    struct wal_options options = options_of(sim, SMALL_SEGMENT);
    fs_sim_add_fault(sim, fault);
    struct story story = {0};
    struct error *error = play(&options, &story);
    *struck = fs_sim_faults_struck(sim) > 0;
    if (*struck && error == NULL) {
        /* Only tidying may fail without being told: the prepared segment, which every start replaces. */
        assert_int_equal(story.durable, story.written);
    } else if (*struck) {
        assert_int_equal(error->system, fault->system == 0 ? EIO : fault->system);
    } else {
        assert_null(error);
    }
    error_free(error);
    fs_sim_clear_faults(sim);
    check_crashes(sim, &story, 4);
    fs_sim_kill(sim);
    check_recovery(&options, &story);
    fs_sim_free(sim);
}

static void a_fault_at_any_operation_is_reported_and_loses_nothing_synced(void **state)
{
    (void)state;
    static const int systems[] = {EIO, ENOSPC};
    for (size_t i = 0; i < 2; i++) {
        bool struck = true;
        uint64_t operation = 0;
        for (; struck; operation++)
            check_fault(&(struct fs_sim_fault){.operations = FS_SIM_CHANGES,
                                               .skip = operation,
                                               .times = 1,
                                               .system = systems[i],
                                               .partial = operation % 2 == 0},
                        operation, &struck);
        assert_true(operation > 40);
    }
}

static void a_full_disk_is_reported_and_loses_nothing_synced(void **state)
{
    (void)state;
    unsigned full = 0;
    for (uint64_t pages = 0; pages < 20; pages++) {
        struct fs_sim *sim = new_disk(pages);
        struct wal_options options = options_of(sim, SMALL_SEGMENT);
        fs_sim_set_capacity(sim, (pages + 1) * 4096);
        struct story story = {0};
        struct error *error = play(&options, &story);
        if (error != NULL) assert_int_equal(error->kind, ERROR_NO_SPACE);
        full += error != NULL;
        error_free(error);
        fs_sim_set_capacity(sim, 0);
        check_crashes(sim, &story, 4);
        fs_sim_free(sim);
    }
    assert_in_range(full, 5, 19);
}

static void reading_faults_are_reported(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(4);
    struct wal_options options = options_of(sim, SMALL_SEGMENT);
    struct story story = {0};
    must(play(&options, &story));
    uint64_t operation = 0;
    for (bool struck = true; struck; operation++) {
        uint64_t before = fs_sim_faults_struck(sim);
        fs_sim_add_fault(sim, &(struct fs_sim_fault){.operations = FS_SIM_OPEN | FS_SIM_READ | FS_SIM_LOCK |
                                                                   FS_SIM_LIST,
                                                     .skip = operation,
                                                     .times = 1,
                                                     .system = EIO});
        struct wal *wal = NULL;
        struct wal_content content = {0};
        struct error *error = wal_recover(&options, directory, 0, 0, &wal, &content);
        struck = fs_sim_faults_struck(sim) > before;
        if (struck) {
            must_fail(error, ERROR_IO, "/data/member/wal");
            assert_int_equal(content.entries.count, 0);
        } else {
            must(error);
            must(wal_close(wal));
        }
        wal_content_deinit(&content);
        fs_sim_clear_faults(sim);
    }
    assert_true(operation > 10);
    check_recovery(&options, &story);
    fs_sim_free(sim);
}

static bool before_some_directory_sync(void *context, enum fs_sim_operation operation, const char *path)
{
    unsigned *left = context;
    (void)path;
    return operation != FS_SIM_SYNC_DIRECTORY || (*left)-- > 0;
}

static void write_until_killed(const struct wal_options *options)
{
    struct wal *wal = NULL;
    uint8_t data[900] = {0};
    struct error *error = wal_create(options, directory, BYTES_LITERAL("metadata"), &wal);
    for (uint64_t i = 1; i <= 20 && error == NULL; i++) {
        struct raft_entry entry = entry_of(2, i, bytes_of(data, sizeof(data)));
        bool must_sync = false;
        error = wal_save(wal, &(struct raft_hard_state){.term = 2}, &entry, 1, &must_sync);
        if (error == NULL) error = wal_sync(wal);
        blob_unref(entry.data);
    }
    error_free(error);
    error_free(wal_close(wal));
}

/* A name whose sync was missed is there for the next process, which must not build on it as it is. */
static void entries_behind_a_kill_survive_a_power_cut(void **state)
{
    (void)state;
    unsigned tried = 0;
    for (unsigned at = 0; at < 10; at++) {
        struct fs_sim *sim = new_disk(at);
        struct wal_options options = options_of(sim, SMALL_SEGMENT);
        struct wal_content content = {0};
        struct wal *wal = NULL;
        bool exists = false;
        unsigned left = at;
        fs_sim_set_hook(sim, before_some_directory_sync, &left);
        write_until_killed(&options);
        fs_sim_set_hook(sim, NULL, NULL);
        fs_sim_kill(sim);
        must(wal_exists(options.fs, directory, &exists));
        if (exists) {
            must(wal_recover(&options, directory, 0, 0, &wal, &content));
            uint64_t last = content.entries.count;
            wal_content_deinit(&content);
            save(wal, (struct raft_hard_state){.term = 3}, 3, last + 1, BYTES_LITERAL("acknowledged"));
            must(wal_sync(wal));
            fs_sim_power_off(sim);
            error_free(wal_close(wal));
            fs_sim_crash(sim, FS_SIM_LOSE_ALL);
            must(wal_recover(&options, directory, 0, 0, &wal, &content));
            assert_int_equal(content.entries.count, last + 1);
            must(wal_close(wal));
            wal_content_deinit(&content);
            tried++;
        }
        fs_sim_free(sim);
    }
    assert_true(tried > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_healthy_story_reads_back_over_many_segments),
        cmocka_unit_test(a_power_cut_at_any_operation_loses_nothing_synced),
        cmocka_unit_test(a_power_cut_during_recovery_loses_nothing),
        cmocka_unit_test(a_killed_process_loses_nothing_written),
        cmocka_unit_test(a_fault_at_any_operation_is_reported_and_loses_nothing_synced),
        cmocka_unit_test(a_full_disk_is_reported_and_loses_nothing_synced),
        cmocka_unit_test(reading_faults_are_reported),
        cmocka_unit_test(entries_behind_a_kill_survive_a_power_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
