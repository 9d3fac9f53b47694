#!/usr/bin/env bash
# Builds hakmem and its workloads, or, with `bench`, does the whole job: installs what is missing,
# builds, measures hakmem against the other allocators, and shows the result.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    cat <<'TEXT'
usage: ./build.sh [release|asan|tsan|guard] TARGET...
       ./build.sh bench [OPTION...]      options of runner/run.py; without one: --quick
       ./build.sh setup                  only install what is missing

A TARGET is WORKLOAD_ALLOCATOR with WORKLOAD larson, bench_random_mixed or xmalloc and ALLOCATOR
hakmem, mimalloc, jemalloc, tcmalloc, tbbmalloc or system; or libhakmem.so, libhakmem.a, tests, all.
What was built is in out/VARIANT/; guard is
hakmem with every check of its own, and slow. CC and CFLAGS are taken from the environment.
TEXT
}

complain() {
    printf 'build.sh: %s\n' "$1" >&2
    exit 2
}

variant=release
case "${1:-}" in
-h | --help)
    usage
    exit 0
    ;;
bench)
    shift
    scripts/setup.sh bench
    make -s all
    if [ $# -eq 0 ]; then set -- --quick; fi
    exec scripts/python.sh runner/run.py "$@"
    ;;
setup)
    exec scripts/setup.sh bench test
    ;;
release | asan | tsan | guard)
    variant=$1
    shift
    ;;
esac
if [ $# -eq 0 ]; then
    usage >&2
    exit 2
fi

command -v make >/dev/null || complain "make is not installed; ./build.sh setup installs it (Debian's package make)"
known=$(make -s list)
for target in "$@"; do
    grep -qxF -e "$target" <<<"$known" ||
        complain "unknown target '$target'; ./build.sh --help names them, 'make list' lists them all"
done
exec make --no-print-directory VARIANT="$variant" "$@"
