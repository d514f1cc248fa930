/* server: one etcd member in one process: its data, its engine, its ports.
 *
 *     member_open ─▶ engine_start ─▶ peer and client ports are bound ─▶ published ─▶ client ports are served
 *     server_stop: client ports drain ─▶ engine_stop (final commit) ─▶ loops end ─▶ everything is closed
 *
 * server_run blocks on the calling thread, which accepts connections and waits for signals; connections are
 * served by I/O loops of their own.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "base/error.h"
#include "base/log.h"
#include "server/options.h"

/* Runs until SIGTERM, SIGINT, or the member's removal from the cluster. *signal_number gets the signal, 0
 * after a removal. member_initialized: the data directory has a member in it (for the log). Once clients are
 * served systemd is told (NOTIFY_SOCKET). A database that another process holds is waited for. */
struct error *server_run(const struct options *options, const struct logger *logger, bool member_initialized,
                         int *signal_number) __attribute__((warn_unused_result));

#endif
