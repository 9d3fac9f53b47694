#!/usr/bin/env bash
# Measures the commit that is checked out against where it left BASE: the step of the benchmark workflow.
#
#   [BASE=REVISION] [TIME_BUDGET=10m] [EFFECT=2%] [WORKLOADS=NAMES] [MATRIX=KEY=VALUES] [OUT=DIR]
#       scripts/ci_measure.sh
#
# Exit status: that of runner/pr.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=${OUT:-out/benchmark-report}
options=(--time-budget "${TIME_BUDGET:-10m}" --effect "${EFFECT:-2%}" --out "$out")
if [ -n "${WORKLOADS:-}" ]; then options+=(--workloads "$WORKLOADS"); fi
if [ -n "${MATRIX:-}" ]; then options+=(--matrix "$MATRIX"); fi

status=0
scripts/python.sh runner/pr.py "${BASE:-}...HEAD" "${options[@]}" || status=$?

# The page that GitHub shows of the run; a summary may have a megabyte, and can't show pictures beside it.
if [ -n "${GITHUB_STEP_SUMMARY:-}" ] && [ -s "$out/report.md" ]; then
    sed '/^!\[.*\](report-pictures\//d' "$out/report.md" | head -c 1000000 >>"$GITHUB_STEP_SUMMARY"
fi
exit "$status"
