/* once: the overview without a terminal, for tickets and scripts. */
#ifndef TUI_ONCE_H
#define TUI_ONCE_H

#include "tui/model.h"

/* The overview as text in `width` columns. */
void once_text(const struct model *model, int width, bool ascii, struct buf *out);
/* One JSON object; what is not known is null. */
void once_json(const struct model *model, struct buf *out);
/* 0: healthy, 1: not. */
int once_status(const struct model *model);

#endif
