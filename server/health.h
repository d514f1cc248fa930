/* health: /health, /livez and /readyz.
 *
 * /health answers as etcd always has: alarms, then the leader, then a read, the first that fails being the
 * reason. /livez and /readyz run named checks, all of them or one (/readyz/NAME): a process that fails
 * /livez should be restarted, one that fails /readyz should get no requests.
 *
 * Handlers run on their loop's thread; the reads they need go to the node and come back there.
 */
#ifndef SERVER_HEALTH_H
#define SERVER_HEALTH_H

#include "base/metrics.h"
#include "net/http.h"

enum health_check {
    HEALTH_DATA_CORRUPTION,
    HEALTH_SERIALIZABLE_READ,
    HEALTH_LINEARIZABLE_READ,
    HEALTH_NON_LEARNER,
    HEALTH_CHECKS,
};
extern const char *const health_check_names[HEALTH_CHECKS];

enum health_kind { HEALTH_LIVEZ, HEALTH_READYZ, HEALTH_KINDS };

struct health_metrics {
    metric_counter success, failures;                      /* of /health */
    metric_counter checks[HEALTH_KINDS][HEALTH_CHECKS][2]; /* [1]: with success */
    metric_gauge latest[HEALTH_KINDS][HEALTH_CHECKS];
};

/* Handlers of routes whose router's context is a struct http_endpoints; the last two are for the path itself
 * and, with prefix, for "PATH/". */
extern const struct http_handler health_handler, livez_handler, readyz_handler;

#endif
