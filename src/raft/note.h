/* note: log lines of the Raft core.
 *
 * Their texts are those of etcd's Raft library, complete in the message, so they are formatted; but only when
 * somebody listens. HEX prints an id, DEC a term, an index or a count.
 */
#ifndef RAFT_NOTE_H
#define RAFT_NOTE_H

#include "base/log.h"

#include <inttypes.h>

#define HEX "%" PRIx64
#define DEC "%" PRIu64

void raft_note(const struct logger *logger, enum log_level level, const char *file, int line,
               const char *format, ...) __attribute__((format(printf, 5, 6)));

#define RAFT_NOTE(to, level, ...)                                                                            \
    do {                                                                                                     \
        const struct logger *note_to_ = (to);                                                                \
        if (log_wants(note_to_, level)) raft_note(note_to_, level, __FILE__, __LINE__, __VA_ARGS__);         \
    } while (0)

#define note_debug(to, ...) RAFT_NOTE(to, LOG_DEBUG, __VA_ARGS__)
#define note_info(to, ...)  RAFT_NOTE(to, LOG_INFO, __VA_ARGS__)
#define note_warn(to, ...)  RAFT_NOTE(to, LOG_WARN, __VA_ARGS__)
#define note_error(to, ...) RAFT_NOTE(to, LOG_ERROR, __VA_ARGS__)

#endif
