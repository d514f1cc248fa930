#!/bin/sh
set -e
# Every known bug is found by the simulator (tests/sim/planted/run), each once.
here=$(cd "$(dirname "$0")" && pwd)
HINTS=$here/seeds "$here/run" "$PWD/tests/sim/planted-simulator" "$here" 1000 1 "$(nproc)"
here=$here/../planted_auth
HINTS=$here/seeds exec "$here/../planted/run" "$PWD/tests/sim/planted-auth-simulator" "$here" 100 1 "$(nproc)"
