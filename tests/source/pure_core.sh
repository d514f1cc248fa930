#!/usr/bin/env bash
# The deterministic core does no I/O: these folders include nothing of the event loop, the network, TLS or the system's I/O,
# threads and clocks. What breaks this breaks the simulator.
set -euo pipefail
cd "${srcdir:-.}"
core="src/raft src/mvcc src/lease src/auth src/cluster src/node"
forbidden='uv\.h|nghttp2|http_parser|openssl/|net/|fcntl\.h|unistd\.h|pthread\.h|threads\.h|poll\.h|time\.h|netdb\.h|signal\.h|sys/(socket|mman|stat|types|uio|epoll|eventfd|time|file|select|ioctl|wait)\.h'
status=0
for folder in $core; do
    [ -d "$folder" ] || continue
    if grep -nE "#[[:space:]]*include[[:space:]]*[<\"]($forbidden)" "$folder"/*.[ch]; then
        echo "pure_core: $folder must not include the above" >&2
        status=1
    fi
    if grep -nE '\b(clock_gettime|gettimeofday|time|rand|random|getrandom|pthread_[a-z_]+|fopen|fsync|printf)[[:space:]]*\(' "$folder"/*.c |
        grep -vE '^[^:]+:[0-9]+:[[:space:]]*(\*|/\*|//)|snprintf|vsnprintf|buf_printf|mem_printf|arena_printf|note_printf'; then
        echo "pure_core: $folder must not call the above" >&2
        status=1
    fi
done
# And nothing below the server knows of it.
if grep -nE '#[[:space:]]*include[[:space:]]*"(server|shell|tui)/' -r src; then
    echo "pure_core: src must not include what is built on it" >&2
    status=1
fi
[ $status = 0 ] && echo "the core is free of I/O: $core"
exit $status
