#!/usr/bin/env bash
# Runs every test: C units, drivers, runner, scripts, the sanitizer builds, and real programs with
# hakmem preloaded.
# Installs what is missing first. The last line is "N passed, N failed"; arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

case "${1:-}" in -h | --help)
    echo "usage: ./run_all_tests.sh [PYTEST OPTION...]   for example: -k larson, -x, tests/c"
    exit 0
    ;;
esac

scripts/setup.sh bench test
tests/real/setup.sh
make -s all tests
make -s VARIANT=asan tests {larson,bench_random_mixed,xmalloc,mstress,thread_churn}_hakmem
make -s VARIANT=tsan tests {larson,bench_random_mixed,xmalloc,mstress,thread_churn}_hakmem

mkdir -p out
reports=()
status=0
run_tests() { # REPORT PYTEST-ARGUMENT...
    local report=$1
    shift
    scripts/python.sh --need pytest -m pytest -q -p no:cacheprovider --junit-xml="$report" "$@"
}
rm -f out/tests*.xml
if [ $# -eq 0 ]; then
    # What only computes, on one core each, and asks no clock: two lanes beside each other. The rest has
    # the machine for itself.
    lane=(tests/allocator/test_aarch64.py tests/platforms tests/scripts/test_freelist_programs.py)
    run_tests out/tests-model.xml tests/model >out/tests-model.log 2>&1 &
    model=$!
    trap 'kill "$model" 2>/dev/null || true' EXIT
    run_tests out/tests-lane.xml "${lane[@]}" || status=$?
    wait "$model" || status=$?
    trap - EXIT
    cat out/tests-model.log
    rest=(tests --ignore=tests/model)
    for path in "${lane[@]}"; do rest+=("--ignore=$path"); done
    run_tests out/tests.xml "${rest[@]}" || status=$?
    reports=(out/tests-model.xml out/tests-lane.xml out/tests.xml)
else
    if [[ $1 == -* ]]; then set -- tests "$@"; fi
    run_tests out/tests.xml "$@" || status=$?
    reports=(out/tests.xml)
fi

# A run that was cut short or collected nothing is a failure, whatever it counted.
for report in "${reports[@]}"; do
    if [ ! -s "$report" ]; then
        echo "run_all_tests.sh: the tests did not run" >&2
        echo "0 passed, 1 failed"
        exit 1
    fi
done
counts=$(scripts/python.sh - "${reports[@]}" <<'PYTHON'
import sys
import xml.etree.ElementTree as tree
total = failed = skipped = 0
for report in sys.argv[1:]:
    for suite in tree.parse(report).getroot().iter("testsuite"):
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
passed = max(total - failed - skipped, 0)
print(passed, failed, skipped)
PYTHON
)
read -r passed failed skipped <<<"$counts"
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$status" -eq 0 ]
