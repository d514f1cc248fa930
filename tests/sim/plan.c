#include "plan.h"

#include <stdlib.h>

int plan_compare(const void *a, const void *b)
{
    const struct plan_choice *one = a, *other = b;
    if (one->line != other->line) return one->line < other->line ? -1 : 1;
    return (one->number > other->number) - (one->number < other->number);
}

bool plan_begin(struct plan *plan, uint32_t line, uint32_t number, struct rng *rng)
{
    const struct plan_choice choice = {line, number};
    rng_init(rng, (plan->seed * UINT64_C(0x9e3779b97f4a7c15)) ^ ((uint64_t)line << 32 | number));
    if (plan->only != NULL &&
        bsearch(&choice, plan->only, plan->only_count, sizeof(choice), plan_compare) == NULL)
        return false;
    if (plan->record != NULL && plan->record->count < PLAN_CHOICES_MAX)
        plan->record->choices[plan->record->count++] = choice;
    return true;
}
