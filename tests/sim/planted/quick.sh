#!/bin/sh
# Every known bug is found by the simulator (tests/sim/planted/run), each once.
simulator=$PWD/tests/sim/planted-simulator
srcdir=$(cd "$(dirname "$0")/../../.." && pwd)
SOURCE=$srcdir HINTS=$srcdir/tests/sim/planted/seeds exec "$srcdir/tests/sim/planted/run" "$simulator" 1000 1 "$(nproc)"
