/* notify: tells the service manager that this process is ready (systemd's sd_notify protocol). Any thread. */
#ifndef SERVER_NOTIFY_H
#define SERVER_NOTIFY_H

#include "base/error.h"

/* Sends READY=1 to the datagram socket `address`, the value of NOTIFY_SOCKET: a path, or "@name" in the
 * abstract namespace. NULL or "": nobody waits, and nothing is done. */
struct error *notify_ready(const char *address) __attribute__((warn_unused_result));

#endif
