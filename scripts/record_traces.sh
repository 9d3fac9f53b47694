#!/usr/bin/env bash
# Records the traces of workloads/replay/traces again: redis under load, a gcc run, a python run.
#
#   scripts/record_traces.sh [--into FOLDER] [redis|gcc|python...]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

most_bytes=$((2 * 1000 * 1000)) # of a compressed trace
redis_requests=${REDIS_REQUESTS:-6000} # of each kind
gcc_work=${GCC_WORK:-38}                # per cent of the source that the runner measures gcc with
trace_max=${TRACE_MAX:-15M}             # python's recording stops there: nearly all of its calls

usage() {
    cat <<'TEXT'
usage: scripts/record_traces.sh [OPTION...] [redis|gcc|python...]

Records allocation calls of real programs with libhakmem-trace.so, and writes NAME.trace.gz, compressed,
at most 2 MB. Without a name: all three. A program that is not installed is an error.

options:
  --into FOLDER   where the traces go; default workloads/replay/traces
  --help          print this and exit

environment: REDIS_REQUESTS, GCC_WORK, TRACE_MAX change how much is recorded (see the script's head)

exit status: 0 recorded, 1 a recording failed, 2 wrong arguments, 130 interrupted
TEXT
}

fail() {
    printf 'record_traces.sh: %s\n' "$2" >&2
    exit "$1"
}

into=$root/workloads/replay/traces
names=()
while [ $# -gt 0 ]; do
    case $1 in
    --into)
        [ $# -ge 2 ] || fail 2 "--into lacks its folder: give it as --into FOLDER"
        into=$2
        shift
        ;;
    --help | -h)
        usage
        exit 0
        ;;
    redis | gcc | python) names+=("$1") ;;
    *) fail 2 "there is no program or option '$1'; the programs are redis, gcc and python, see --help" ;;
    esac
    shift
done
[ ${#names[@]} -gt 0 ] || names=(redis gcc python)
for setting in REDIS_REQUESTS="$redis_requests" GCC_WORK="$gcc_work"; do
    [[ $setting =~ =[1-9][0-9]{0,8}$ ]] || fail 2 "$setting is no whole number from 1 to 999999999"
done
mkdir -p "$into" || fail 2 "--into '$into' can't be made"

recorder=$root/out/release/libhakmem-trace.so
make -s -C "$root" libhakmem-trace.so replay_system || fail 1 "libhakmem-trace.so can't be built"

work=$(mktemp -d)
server=
cleanup() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
ln -s "$recorder" "$work/libhakmem-trace.so" # a space in the checkout's path would end it in LD_PRELOAD

# The program's environment: nothing of ours but what it needs.
recorded() { # TRACE COMMAND...
    local trace=$1
    shift
    env -i PATH="$PATH" HOME="$work" LC_ALL=C PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 PYTHONMALLOC=malloc \
        LD_PRELOAD="$work/libhakmem-trace.so" HAKMEM_TRACE="$trace" HAKMEM_TRACE_MAX="$trace_max" \
        HAKMEM_TRACE_TIMES="${times:-1}" "$@"
}

needs() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || fail 1 "$1 is not installed; install the package $2"
}

record_redis() {
    needs redis-server redis-server
    needs redis-benchmark redis-tools
    trace_max=0 recorded "$work/redis.trace" redis-server --port 0 --unixsocket "$work/socket" --save "" \
        --appendonly no --daemonize no --loglevel warning --dir "$work" >/dev/null &
    server=$!
    for _ in $(seq 100); do
        if redis-cli -s "$work/socket" ping >/dev/null 2>&1; then break; fi
        sleep 0.1
    done
    redis-benchmark -s "$work/socket" -q -c 20 -P 4 -d 150 -r 4000 -n "$redis_requests" \
        -t set,get,incr,lpush,rpop,sadd,hset,spop,zadd,lrange_100 >/dev/null ||
        fail 1 "redis-benchmark failed"
    redis-cli -s "$work/socket" shutdown nosave >/dev/null 2>&1 || true
    wait "$server" || fail 1 "redis-server failed"
    server=
}

record_gcc() {
    needs gcc gcc
    (cd "$root" && python3 -c 'import sys
from pathlib import Path
from workloads.programs.gcc_source import write_source
write_source(Path(sys.argv[1]), 42, int(sys.argv[2]))' "$work/source.c" "$gcc_work")
    local compiler
    compiler=$(gcc -print-prog-name=cc1)
    [ -x "$compiler" ] || fail 1 "gcc does not tell where its cc1 is"
    trace_max=0 recorded "$work/gcc.trace" "$compiler" -quiet -O2 -w "$work/source.c" -o "$work/source.s"
}

record_python() {
    local interpreter=/usr/bin/python3
    [ -x "$interpreter" ] || interpreter=$(command -v python3) || fail 1 "python3 is not installed"
    printf '1 42\n' >"$work/arguments"
    # Without times, which take most of the compressed file: so it holds nearly the whole run.
    times=0 recorded "$work/python.trace" "$interpreter" -S -s "$root/workloads/programs/python_work.py" \
        "$work/arguments" >/dev/null
}

for name in "${names[@]}"; do
    "record_$name"
    trace=$work/$name.trace
    [ -s "$trace" ] || fail 1 "nothing was recorded of $name"
    # Played with every block checked before it is kept.
    "$root/out/release/replay_system" "$trace" --check | grep -E '^(operations|note|  +at most)' ||
        fail 1 "the trace of $name can't be replayed"
    gzip -9 -n -c "$trace" >"$work/$name.gz"
    bytes=$(stat -c %s "$work/$name.gz")
    [ "$bytes" -le "$most_bytes" ] || fail 1 "the trace of $name has $bytes bytes, more than $most_bytes"
    mv "$work/$name.gz" "$into/$name.trace.gz"
    printf '%s: %s bytes\n' "$into/$name.trace.gz" "$bytes"
done
