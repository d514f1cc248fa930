/* model: what the dashboard knows about the cluster, and since when.
 *
 * The collector reports answers and failures as they come (model_apply_*, model_fail_*); model_refresh, once
 * per interval, derives rates, percentiles, health, findings and events from them. Views read it as
 * `const struct model *`. It does no I/O, reads no clock (times are passed in: `now` monotonic, `wall` since
 * 1970, both nanoseconds) and knows nothing of a screen.
 *
 * Numbers that are not known are NAN (or has_... is false): views show "?" with the age of the last answer.
 */
#ifndef TUI_MODEL_H
#define TUI_MODEL_H

#include "base/buf.h"
#include "tui/ring.h"
#include "tui/scrape.h"

#include "rpc.pb-c.h"

enum {
    MODEL_MEMBERS_MAX = 64,
    MODEL_EVENTS_MAX = 256,
    MODEL_FINDINGS_MAX = 64,
    MODEL_WINDOW = 10, /* scrapes that a percentile looks back on */
    MODEL_TEXT = 160,
    MODEL_LEASE_IDS_MAX = 4096, /* further ones are only counted */
    MODEL_LEASES_SECONDS = 10,  /* between two looks at the leases: the answer lists them all */
};

/* One kind of question to one member. */
struct model_fetch {
    bool asked;           /* an answer or a failure has come */
    bool good;            /* the last one was an answer */
    int64_t answered;     /* when the last answer came; 0: never */
    int64_t period;       /* how often it is asked; 0: every interval */
    char why[MODEL_TEXT]; /* of the last failure */
};

struct model_member {
    uint64_t serial; /* identifies the row for the life of the model */
    bool has_id;
    uint64_t id;
    char name[64];
    char endpoint[MODEL_TEXT]; /* where it is asked; "" when it has not told its client URLs */
    char peer_url[MODEL_TEXT];
    bool from_user; /* the endpoint was given on the command line */
    bool listed;    /* in the member list */
    bool is_learner;

    struct model_fetch status;
    char version[24];
    uint64_t leader, term, index, applied;
    int64_t revision, db_size, db_in_use, quota; /* quota 0: not told */
    int64_t round_trip;                          /* nanoseconds */
    size_t error_count;
    size_t alarms_told; /* of them */
    char errors[MODEL_TEXT];

    struct model_fetch metrics;
    struct scrape scrapes[MODEL_WINDOW]; /* [scrape_next - 1] is the newest */
    size_t scrape_count, scrape_next;

    /* Derived by model_refresh; NAN: not known. */
    bool is_up, is_fresh, has_metrics;
    double lag; /* entries behind the leader's index */
    double put_rate, range_rate, delete_rate, txn_rate, failure_rate, proposal_rate, cpu; /* per second */
    double event_rate;           /* to watchers, per second */
    double fsync, commit, range; /* 99th percentiles, seconds */
    double quota_used;           /* fraction */
    int64_t down_since;          /* wall; 0: is up or was never seen */
    bool was_up, was_slow;
    struct ring fsync_history, commit_history, round_trip_history;
};

enum model_health {
    MODEL_UNKNOWN,  /* nothing has answered yet */
    MODEL_HEALTHY,  /* all members answer, there is a leader, no alarm */
    MODEL_DEGRADED, /* it works, but something is wrong */
    MODEL_CRITICAL, /* no leader or no quorum: writes fail */
};

enum model_severity { MODEL_NOTE, MODEL_WARNING, MODEL_ALERT };

struct model_event {
    int64_t wall;
    enum model_severity severity;
    char text[MODEL_TEXT];
};

struct model_finding {
    enum model_severity severity;
    int64_t since; /* wall */
    uint64_t key;  /* rule and member */
    char text[MODEL_TEXT];
};

struct model_alarm {
    uint64_t member;
    int kind; /* Etcdserverpb__AlarmType */
};

struct model {
    int64_t interval;
    int64_t now, wall;   /* of the last refresh */
    uint64_t generation; /* refreshes so far */

    struct model_member *members[MODEL_MEMBERS_MAX];
    size_t member_count;
    uint64_t next_serial;
    size_t endpoints_dropped; /* beyond the maximum */

    bool has_cluster_id;
    uint64_t cluster_id;
    int64_t revision;
    uint64_t term;
    uint64_t leader;            /* 0: none */
    int64_t leader_since;       /* wall */
    bool leader_since_is_known; /* else it has been leader at least since then */
    int64_t leaderless_since;   /* wall; 0: there is one */

    struct model_fetch member_list, alarm_list, lease_list;
    struct model_alarm alarms[MODEL_MEMBERS_MAX * 2];
    size_t alarm_count;
    double leases, watchers, keys;
    int64_t lease_ids[MODEL_LEASE_IDS_MAX]; /* ascending by what they have left, as the members tell them */
    size_t lease_id_count;

    enum model_health health;
    size_t voters, voters_up, members_up;
    double put_rate, range_rate, txn_rate, proposal_rate, commit, range, fsync_worst;
    struct model_member *fsync_worst_member; /* NULL: none known */
    struct ring put_history, range_rate_history, proposal_history, commit_history, range_history,
        fsync_history;

    struct model_finding findings[MODEL_FINDINGS_MAX]; /* worst first */
    size_t finding_count;
    struct model_event events[MODEL_EVENTS_MAX]; /* a ring */
    size_t event_count, event_next;
};

struct model *model_new(int64_t interval) __attribute__((returns_nonnull, warn_unused_result));
/* NULL is allowed. */
void model_free(struct model *model);

/* A row for an endpoint of the command line. Repeated ones and those beyond the maximum are dropped. */
void model_add_endpoint(struct model *model, const char *endpoint);
/* NULL when the row is gone. */
struct model_member *model_member_by_serial(struct model *model, uint64_t serial);
const struct model_member *model_member_by_id(const struct model *model, uint64_t id);
/* A member's metrics `age` readings back, 0: the newest; all zero when there were not so many. */
const struct scrape *model_scrape(const struct model_member *member, size_t age);
/* Its name, else its id, else its endpoint. */
struct model_label {
    char text[64];
} model_member_label(const struct model_member *member);

/* What came from the cluster. model_apply_status may find that two rows are one member: one of them is gone
 * then. model_apply_members adds and removes rows. */
void model_apply_status(struct model *model, uint64_t serial, const Etcdserverpb__StatusResponse *status,
                        int64_t round_trip, int64_t now);
void model_fail_status(struct model *model, uint64_t serial, const char *why);
void model_apply_metrics(struct model *model, uint64_t serial, const struct scrape *scrape);
void model_fail_metrics(struct model *model, uint64_t serial, const char *why);
void model_apply_members(struct model *model, const Etcdserverpb__MemberListResponse *list, int64_t now,
                         int64_t wall);
void model_apply_alarms(struct model *model, const Etcdserverpb__AlarmResponse *alarms, int64_t now);
/* Whether a status speaks of more or fewer alarms than the list that was last applied. */
bool model_alarms_changed(const struct model *model);
void model_apply_leases(struct model *model, const Etcdserverpb__LeaseLeasesResponse *list, int64_t now);
void model_fail(struct model_fetch *fetch, const char *why);

/* Derives everything else; once per interval. */
void model_refresh(struct model *model, int64_t now, int64_t wall);

/* Whether the last answer may be shown as new. */
bool model_is_fresh(const struct model *model, const struct model_fetch *fetch);
/* Age of the last answer; negative when there was none. */
int64_t model_age(const struct model *model, const struct model_fetch *fetch);
const char *model_health_name(enum model_health health);
/* The event `age` steps back, 0 the newest. */
const struct model_event *model_event_at(const struct model *model, size_t age);

#endif
