#!/usr/bin/env bash
# A failing seed is cut down to a part of its choices, with which it still fails in the same way, and is told.
set -euo pipefail
simulator=$PWD/tests/sim/planted-simulator
said=$(SIM_PLANT=events-lost-at-compaction "$simulator" 1 1000 1 2>&1) && { echo "the bug is not found"; exit 1; }
shrunk=$(grep 'still fails with' <<<"$said")
echo "$shrunk"
read -r left all < <(sed 's/.*with \([0-9]*\) of its \([0-9]*\) choices.*/\1 \2/' <<<"$shrunk")
[ $((left * 2)) -le "$all" ] || { echo "too much is left"; exit 1; }
# What was wrong is said at once, and again where the shrunk story ends.
wrong=$(sed -n 's/^seed [0-9]*: t=[0-9.]* s: \([a-z ]*\).*/\1/p' <<<"$said" | head -n 1)
[ -n "$wrong" ] || { echo "it is not said what is wrong"; exit 1; }
sed -n '/still fails with/,$p' <<<"$said" | grep -q "^ .*t=.*$wrong" || { echo "the story does not end with: $wrong"; exit 1; }
