/* suites: the three kinds of data files. Each has a state that is made anew for every file. */
#ifndef TESTS_SUITES_H
#define TESTS_SUITES_H

#include "datadriven.h"
#include "raft/raft.h"

struct suite {
    const char *name; /* also the folder of its files */
    void *(*state_new)(void);
    void (*state_free)(void *state);
    datadriven_handler *handle;
};

extern const struct suite suite_interaction;
extern const struct suite suite_confchange;
extern const struct suite suite_quorum;

/* "v1 l2 r3 u4" into changes; error "unknown token ..." or "unknown input: ...". */
struct error *suite_parse_changes(const char *text, struct raft_conf_change_v2 *change)
    __attribute__((warn_unused_result));
bool suite_parse_bool(const char *text);
uint64_t suite_parse_number(const char *text);

#endif
