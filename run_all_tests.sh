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
make -s VARIANT=asan tests larson_hakmem bench_random_mixed_hakmem xmalloc_hakmem
make -s VARIANT=tsan tests larson_hakmem bench_random_mixed_hakmem xmalloc_hakmem

mkdir -p out
report=out/tests.xml
rm -f "$report"
if [ $# -eq 0 ] || [[ $1 == -* ]]; then set -- tests "$@"; fi
status=0
scripts/python.sh --need pytest -m pytest -q -p no:cacheprovider --junit-xml="$report" "$@" || status=$?

# A run that was cut short or collected nothing is a failure, whatever it counted.
if [ ! -s "$report" ]; then
    echo "run_all_tests.sh: the tests did not run" >&2
    echo "0 passed, 1 failed"
    exit 1
fi
counts=$(scripts/python.sh - "$report" <<'PYTHON'
import sys
import xml.etree.ElementTree as tree
total = failed = skipped = 0
for suite in tree.parse(sys.argv[1]).getroot().iter("testsuite"):
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
