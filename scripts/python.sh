#!/usr/bin/env bash
# Runs a Python program with the first interpreter that has what it needs.
#
#   scripts/python.sh [--need MODULE]... ARGUMENT...
#
# Tries the python3 on the PATH, then the system's own, for the modules named; a pyenv or
# conda interpreter without them must not stop anyone. Without --need: any Python 3.9 or newer.
set -euo pipefail

modules=()
while [ "${1:-}" = --need ]; do
    modules+=("$2")
    shift 2
done

check="import sys; assert sys.version_info >= (3, 9)"
for module in "${modules[@]}"; do check+="; import $module"; done

tried=()
for python in "${PYTHON:-python3}" /usr/bin/python3 /usr/local/bin/python3; do
    path=$(command -v "$python") || continue
    tried+=("$path")
    if "$path" -c "$check" 2>/dev/null; then exec "$path" "$@"; fi
done
printf 'python.sh: no Python 3.9 or newer%s was found (tried: %s); ./build.sh setup installs what is missing\n' \
    "${modules:+ with the modules ${modules[*]}}" "${tried[*]:-none}" >&2
exit 2
