#include "server/notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct error *notify_ready(const char *address)
{
    static const char message[] = "READY=1";
    struct sockaddr_un target = {.sun_family = AF_UNIX};
    size_t size = address == NULL ? 0 : strlen(address);
    if (size == 0) return NULL;
    if ((address[0] != '/' && address[0] != '@') || size >= sizeof(target.sun_path))
        return error_new(ERROR_INVALID, "NOTIFY_SOCKET=%s is not the address of a socket", address);
    memcpy(target.sun_path, address, size);
    if (address[0] == '@') target.sun_path[0] = '\0';
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return error_system(errno, "socket");
    ssize_t sent = sendto(descriptor, message, sizeof(message) - 1, MSG_NOSIGNAL, (struct sockaddr *)&target,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size));
    int failure = errno;
    close(descriptor);
    return sent < 0 ? error_system(failure, "send to %s", address) : NULL;
}
