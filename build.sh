#!/usr/bin/env bash
# Builds hakmem and its workloads, or, with `bench`, does the whole job: installs what is missing,
# builds, measures hakmem against the other allocators, and shows the result.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    cat <<'TEXT'
usage: ./build.sh [release|asan|tsan|guard] TARGET... [NAME=VALUE...]
       ./build.sh bench [OPTION...]      options of runner/run.py; without one: --quick
       ./build.sh setup                  only install what is missing

A TARGET is
  WORKLOAD_ALLOCATOR    a driver: WORKLOAD is one of
                            larson, bench_random_mixed, xmalloc,
                            cache_thrash, cache_scratch,
                            mstress, thread_churn,
                            pareto, large, growth,
                            replay;
                        ALLOCATOR hakmem, mimalloc, jemalloc, tcmalloc, tbbmalloc, system, or floor (the
                        least that an allocator can cost: a measuring rod)
  libhakmem.so, libhakmem.a
                        the library
  libfloor.so           the measuring rod
  hakmem                the command: hakmem run PROGRAM
  libhakmem-trace.so, trace_info
                        the recorder of allocation calls, and what shows its traces (docs/traces.md)
  all                   all of these
  install, uninstall    puts library, command, header and manual pages below PREFIX (/usr/local), or
                        removes them; below DESTDIR, if that is set
  stress, never_allocating, stress_plain, never_allocating_plain
                        programs that try an allocator hard; _plain: for any that is preloaded
  tests, test_NAME      the C tests, or one of them: tests/c/test_NAME.c
  clean, list           removes out/; prints all targets

What was built is in out/VARIANT/. asan and tsan: with the compiler's AddressSanitizer or
ThreadSanitizer; guard: hakmem with every check of its own, and slow. CC and CFLAGS are taken from the
environment, and so are PREFIX, BINDIR, LIBDIR, INCLUDEDIR, DATADIR, MANDIR and DESTDIR; these may be
given as NAME=VALUE, too.
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
targets=0
for target in "$@"; do
    if [[ $target =~ ^[A-Z]+= ]]; then continue; fi
    targets=$((targets + 1))
    grep -qxF -e "$target" <<<"$known" ||
        complain "unknown target '$target'; ./build.sh --help names them, 'make list' lists them all"
done
[ "$targets" -gt 0 ] || complain "there is no target to build beside '$1'; ./build.sh --help names them"
exec make --no-print-directory VARIANT="$variant" "$@"
