#include "base/mailbox.h"

void mailbox_init(struct mailbox *mailbox)
{
    atomic_init(&mailbox->newest, NULL);
    atomic_init(&mailbox->waiting, 0);
}

/* Both sides acquire and release: a mail that was handled may be put again by whoever learns from an empty
 * mailbox that it was (one that wakes the owner is always the same), and then the owner is done with it. */
bool mailbox_put(struct mailbox *mailbox, struct mail *mail)
{
    atomic_fetch_add_explicit(&mailbox->waiting, 1, memory_order_relaxed);
    struct mail *newest = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);
    do {
        mail->next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&mailbox->newest, &newest, mail, memory_order_acq_rel,
                                                    memory_order_relaxed));
    return newest == NULL;
}

struct mail *mailbox_take(struct mailbox *mailbox)
{
    struct mail *newest = atomic_exchange_explicit(&mailbox->newest, NULL, memory_order_acq_rel);
    struct mail *oldest = NULL;
    size_t count = 0;
    while (newest != NULL) {
        struct mail *older = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = older;
        count++;
    }
    atomic_fetch_sub_explicit(&mailbox->waiting, count, memory_order_relaxed);
    return oldest;
}
