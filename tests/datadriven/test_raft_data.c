/* Runs the data-driven Raft tests: our own files beside this program's source, and those of etcd's Raft
 * library, found in $RAFT_TESTDATA or else in ../shared/raft-testdata beside the source tree.
 *
 * Exit code: 0 all as expected, 1 a difference, 77 (skipped) when the library's files are not there, but ours
 * pass.
 */
#include "suites.h"

#include "base/memory.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { EXIT_SKIPPED = 77 };

static const struct suite *const suites[] = {&suite_quorum, &suite_confchange, &suite_interaction};

static int is_data_file(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 4 && strcmp(entry->d_name + length - 4, ".txt") == 0;
}

static bool run_file(const struct suite *suite, const char *path, size_t *directives)
{
    struct buf failure = {0};
    void *state = suite->state_new();
    bool passed = datadriven_run_file(path, suite->handle, state, directives, &failure);
    suite->state_free(state);
    if (!passed) fprintf(stderr, "%s", buf_string(&failure));
    buf_deinit(&failure);
    return passed;
}

/* -1: there is no such folder or it is empty; else the number of files that failed. */
static int run_folder(const struct suite *suite, const char *folder)
{
    struct dirent **names = NULL;
    char *path = mem_printf("%s/%s", folder, suite->name);
    int files = scandir(path, &names, is_data_file, alphasort);
    size_t directives = 0;
    int failed = 0;
    for (int i = 0; i < files; i++) {
        char *file = mem_printf("%s/%s", path, names[i]->d_name);
        failed += !run_file(suite, file, &directives);
        free(file);
        free(names[i]);
    }
    free(names);
    if (files > 0) printf("%s: %d files, %zu directives, %d failed\n", path, files, directives, failed);
    free(path);
    return files > 0 ? failed : -1;
}

static int run_all(const char *folder, bool *found)
{
    int failed = 0;
    *found = false;
    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        int result = run_folder(suites[i], folder);
        if (result < 0) continue;
        *found = true;
        failed += result;
    }
    return failed;
}

int main(void)
{
    const char *given = getenv("RAFT_TESTDATA");
    const char *reference = given != NULL ? given : SOURCE_FOLDER "/../shared/raft-testdata";
    bool found_own, found_reference;
    int failed = run_all(SOURCE_FOLDER "/tests/datadriven/own", &found_own);
    failed += run_all(reference, &found_reference);
    if (failed > 0 || !found_own) return EXIT_FAILURE;
    if (found_reference) return EXIT_SUCCESS;
    printf("skipped: the data files of etcd's Raft library are not in %s (set RAFT_TESTDATA)\n", reference);
    return EXIT_SKIPPED;
}
