#include "planted.h"

#include <stdlib.h>

const char *planted_name;

static void __attribute__((constructor)) choose(void)
{
    planted_name = getenv("SIM_PLANT");
}
