/* cluster_fixture: a cluster and changes of it, for the tests of src/cluster. */
#ifndef TESTS_CLUSTER_FIXTURE_H
#define TESTS_CLUSTER_FIXTURE_H

#include "base/memory.h"
#include "cluster/cluster.h"
#include "tests/unit/buf_fixture.h"

/* Ids of a real member and its cluster. */
#define M1      UINT64_C(0x8a8f822349c42c31)
#define CLUSTER UINT64_C(0xf2829c481607dab3)

/* The call must fail with an error of this kind and exactly this text. Frees the error. */
static inline void must_be_refused(struct error *error, enum error_kind kind, const char *text)
{
    assert_non_null(error);
    assert_string_equal(error->text, text);
    assert_int_equal(error->kind, kind);
    error_free(error);
}

static inline struct cluster_urls urls_of(const char *list)
{
    struct cluster_urls urls = {0};
    must(cluster_urls_parse(list, &urls));
    return urls;
}

static inline struct cluster *new_cluster(void)
{
    struct cluster_options options = {.local_id = M1, .cluster_id = CLUSTER};
    return cluster_new(&options);
}

static inline struct cluster_change change_of(enum cluster_change_kind kind, uint64_t id, const char *urls)
{
    struct cluster_change change = {.kind = kind, .member = {.id = id, .name = mem_strdup("")}};
    change.member.is_learner = kind == CLUSTER_ADD_LEARNER;
    if (urls != NULL) change.member.peer_urls = urls_of(urls);
    return change;
}

/* Checks and, when it is allowed, carries out. */
static inline enum api_error do_change(struct cluster *cluster, struct backend *backend,
                                       enum cluster_change_kind kind, uint64_t id, const char *urls)
{
    struct cluster_change change = change_of(kind, id, urls);
    enum api_error status = cluster_check_change(cluster, &change);
    if (status == API_OK) cluster_apply_change(cluster, backend, &change);
    cluster_change_deinit(&change);
    return status;
}

static inline void start_member(struct cluster *cluster, struct backend *backend, uint64_t id)
{
    struct cluster_urls none = {0};
    assert_int_equal(cluster_set_attributes(cluster, backend, id, "started", &none), API_OK);
}

#endif
