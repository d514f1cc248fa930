/* mailbox: many threads put messages in, one thread takes all of them out at once.
 *
 * A lock-free stack that the owner takes whole and turns round, so a batch costs one atomic exchange and
 * keeps each sender's order. A put into an empty mailbox says so: only then the owner needs a wake-up, one
 * per batch. Messages are intrusive: embed a struct mail.
 *
 * The number of messages waiting is counted so that senders can push back (mailbox_waiting); the mailbox
 * itself never refuses, because a reply to something already accepted must always get through.
 */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct mail {
    struct mail *next;
};

struct mailbox {
    _Atomic(struct mail *) newest;
    atomic_size_t waiting;
};

void mailbox_init(struct mailbox *mailbox);
/* Any thread. True when the mailbox was empty: wake its owner. What the owner did before the take that
 * emptied it has then happened before, so that the wake-up may be a message that is used again. */
bool mailbox_put(struct mailbox *mailbox, struct mail *mail);
/* Owner only: everything waiting, oldest first, linked by next; NULL when empty. */
struct mail *mailbox_take(struct mailbox *mailbox);
/* About how many wait; any thread. */
static inline size_t mailbox_waiting(struct mailbox *mailbox)
{
    return atomic_load_explicit(&mailbox->waiting, memory_order_relaxed);
}

#endif
