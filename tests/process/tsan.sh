#!/bin/sh
# Builds the server with ThreadSanitizer in a scratch directory and runs the mixed load on it, then clusters under load whose
# members are killed, frozen, restarted, joined and brought up to date by snapshots: any report fails.
# Not part of `make check`, whose build directory has other sanitizers. TSAN_BUILD: a build directory to keep.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
build=${TSAN_BUILD:-$(mktemp -d)}
[ -n "${TSAN_BUILD:-}" ] || trap 'rm -rf "$build"' EXIT
mkdir -p "$build"
cd "$build"
[ -f Makefile ] || "$source/configure" CFLAGS="-O1 -g" --enable-sanitizers=thread >configure.log 2>&1 || {
    tail -5 configure.log
    exit 1
}
make proto/.stamp >make.log 2>&1 && make -j2 etcd >>make.log 2>&1 || {
    tail -20 make.log
    exit 1
}
export TSAN_OPTIONS="suppressions=$source/tests/process/tsan.supp"
for round in $(seq "${TSAN_ROUNDS:-1}"); do
    ETCD_BIN=$build/etcd "$source/tests/process/load.py"
    ETCD35_BIN= CLUSTER_KILLS=${TSAN_KILLS:-3} ETCD_BIN=$build/etcd "$source/tests/process/cluster.py"
    ETCD35_BIN= ETCD_BIN=$build/etcd "$source/tests/process/auth.py"
    ETCD35_BIN= ETCD_BIN=$build/etcd "$source/tests/process/auth_cluster.py"
    ETCD_BIN=$build/etcd "$source/tests/process/rolling.py"
    ETCD_BIN=$build/etcd "$source/tests/process/catch_up.py"
    ETCD35_BIN= ETCD_BIN=$build/etcd "$source/tests/process/membership.py"
done
