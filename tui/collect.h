/* collect: asks the cluster and fills the model. The dashboard's only way to the network, but for commands.
 *
 * Everything is asynchronous on one loop: a slow or dead member delays nobody. A round asks every member for
 * its status and metrics, and one of them for members, alarms and (less often) leases; what is still under
 * way from the round before is not asked again.
 */
#ifndef TUI_COLLECT_H
#define TUI_COLLECT_H

#include "client/client.h"
#include "net/loop.h"
#include "tui/app.h"

enum { COLLECT_TIMEOUT_SECONDS = 2, COLLECT_KEYS_TIMEOUT_SECONDS = 5 };

struct collector;

struct collect_handler {
    void *context;
    void (*on_round)(void *context); /* nothing of the round is under way any more */
    void (*on_key_answer)(void *context, const struct key_answer *answer);
    void (*on_change_done)(void *context, const char *what, const char *error);
};

/* All are borrowed as long as the collector lives. */
struct collector *collector_new(struct loop *loop, struct client *client, struct model *model,
                                const struct collect_handler *handler)
    __attribute__((returns_nonnull, warn_unused_result));
/* After client_free: that ends what is under way. Calls no handler. NULL is allowed. */
void collector_free(struct collector *collector);
/* From now on nothing is told to model and handler: to be called before client_free. */
void collector_close(struct collector *collector);

void collector_round(struct collector *collector);
/* Whether anything of a round is under way. */
bool collector_is_busy(const struct collector *collector);
void collector_ask_keys(struct collector *collector, const struct key_request *request);
void collector_change(struct collector *collector, const struct app_change *change);

#endif
