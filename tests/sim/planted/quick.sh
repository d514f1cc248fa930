#!/bin/sh
# Every known bug is found by its simulator (tests/sim/planted/run), each once.
set -e
here=$(cd "$(dirname "$0")" && pwd)
HINTS=$here/seeds "$here/run" "$PWD/tests/sim/planted-simulator" "$here" 1000 1 "$(nproc)"
auth=$here/../planted_auth
HINTS=$auth/seeds exec "$here/run" "$PWD/tests/sim/planted-auth-simulator" "$auth" 100 1 "$(nproc)"
