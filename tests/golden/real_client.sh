#!/bin/sh
# The same cases by a real etcdctl on our server.
if [ -z "$ETCD35_BIN" ]; then
    echo "skipped: ETCD35_BIN names no folder with a real etcd 3.5"
    exit 77
fi
exec "$(dirname "$0")/run.py" --client "$ETCD35_BIN" --client-is real --server ./etcd
