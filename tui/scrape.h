/* scrape: what the dashboard takes from one member's /metrics. */
#ifndef TUI_SCRAPE_H
#define TUI_SCRAPE_H

#include "base/bytes.h"
#include "tui/histogram.h"

/* Numbers that the page did not have are NAN. Counters count since the member's start. */
struct scrape {
    int64_t at;                         /* nanoseconds, monotonic, when it came */
    double puts, ranges, deletes, txns; /* counters: RPCs handled */
    double rpc_failures;                /* counter: RPCs of any kind that did not end with OK */
    double proposals_committed;         /* counter */
    double proposals_applied;           /* counter */
    double proposals_failed;            /* counter */
    double proposals_pending;
    double leader_changes;                  /* counter */
    double slow_applies, slow_read_indexes; /* counters */
    double watchers, watch_streams, slow_watchers, pending_events;
    double watch_events;       /* counter: sent to watchers */
    double heartbeat_failures; /* counter: sent late, as a leader */
    double keys;
    double quota, db_size, db_in_use; /* bytes */
    double resident;                  /* bytes */
    double cpu;                       /* counter: seconds */
    double open_files;
    double started;        /* seconds since 1970 */
    double sent, received; /* counters: bytes to and from clients */
    struct histogram fsync, commit, range;
};

/* Reads a whole page; any bytes are fine. */
void scrape_read(struct scrape *scrape, struct bytes page, int64_t at);
/* The increase of a counter per second between two readings; a counter that went backwards was reset. NAN
 * when either is unknown. */
double scrape_rate(double before, double now, int64_t nanoseconds);

#endif
