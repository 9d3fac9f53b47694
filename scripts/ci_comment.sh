#!/usr/bin/env bash
# Posts a report on the pull request that a run was for: the step of the benchmark comment workflow.
#
#   REPORT=FILE HEAD_OWNER=NAME HEAD_BRANCH=NAME HEAD_COMMIT=SHA [RUN_LINK=URL] GITHUB_REPOSITORY=OWNER/NAME
#       scripts/ci_comment.sh
#
# Exit status: that of runner/pr_comment.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

exec scripts/python.sh runner/pr_comment.py "${REPORT:?}" --repository "${GITHUB_REPOSITORY:?}" \
    --head "${HEAD_OWNER:-}:${HEAD_BRANCH:-}" --commit "${HEAD_COMMIT:?}" --link "${RUN_LINK:-}"
