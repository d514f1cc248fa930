/* findings: what is wrong or could be better, as a table of rules over the model. */
#ifndef TUI_FINDINGS_H
#define TUI_FINDINGS_H

#include "tui/model.h"

/* Thresholds that events use, too. */
#define FINDINGS_FSYNC_SLOW 0.010 /* seconds, WAL fsync p99 */
#define FINDINGS_QUOTA_HIGH 0.80

/* Evaluates all rules and replaces model->findings, keeping since when each has held. */
void findings_evaluate(struct model *model);

#endif
