#!/usr/bin/env bash
# Every C file is as clang-format leaves it.
set -euo pipefail
cd "${srcdir:-.}"
formatter=$(command -v clang-format-14 || command -v clang-format || true)
if [ -z "$formatter" ]; then
    echo "format: clang-format is missing: skipped"
    exit 77
fi
case $("$formatter" --version) in
*"version 14"*) ;;
*)
    echo "format: .clang-format is for version 14, this is $("$formatter" --version): skipped"
    exit 77
    ;;
esac
find src server shell tui tests -name '*.[ch]' -print0 | xargs -0 "$formatter" --dry-run -Werror
echo "every C file is formatted"
