#!/usr/bin/env bash
# Installs the programs that these tests run, as Debian packages, without starting any daemon.
#
#   tests/real/setup.sh            installs what is missing; lists it where this user may not install
#   tests/real/setup.sh --missing  only prints the missing packages, one on a line
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

case "${1:-}" in
"" | --missing) ;;
*)
    echo "tests/real/setup.sh: \"$1\" is no option; the only one is --missing" >&2
    exit 2
    ;;
esac

missing=()
need() { # PACKAGE PROGRAM: the package, unless the program is there, whoever brought it
    if ! command -v "$2" >/dev/null && ! [ -x "$2" ]; then missing+=("$1"); fi
}

need redis-server /usr/bin/redis-server
need redis-tools redis-benchmark
need memcached /usr/bin/memcached
need sqlite3 sqlite3
need g++ g++
need git git
need nodejs node
need perl perl
need xz-utils xz
need chromium chromium
need openssl openssl
need curl curl
need vim-tiny vi
need jq jq
need zstd zstd
if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then missing+=(postgresql); fi

# CPython's tests: in a package of their own, named after the version of Debian's Python.
if [ -x /usr/bin/python3 ] && ! /usr/bin/python3 -c 'import test.test_json' 2>/dev/null; then
    version=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    missing+=("libpython$version-testsuite")
fi

if [ "${1:-}" = --missing ]; then
    [ ${#missing[@]} -eq 0 ] || printf '%s\n' "${missing[@]}"
    exit 0
fi
[ ${#missing[@]} -eq 0 ] && exit 0

# What a package's installation asks before it starts a daemon. One that is there already is the
# administrator's, and stays.
policy=/usr/sbin/policy-rc.d
if [ "$(id -u)" -eq 0 ] && [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
"$here/../../scripts/setup.sh" --also "${missing[@]}"
