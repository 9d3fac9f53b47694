#!/usr/bin/env bash
# Installs what measuring a pull request needs, and on a hosted machine lets perf count.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Ubuntu has a perf for each kernel; the general package brings one that another kernel refuses.
own_perf=linux-tools-$(uname -r)
if apt-cache show "$own_perf" >/dev/null 2>&1; then
    scripts/setup.sh bench --also "$own_perf"
else
    scripts/setup.sh bench
fi

# A machine that is thrown away afterwards may be changed; anybody's own may not.
if [ -n "${GITHUB_ACTIONS:-}" ] && ! sudo -n sysctl -q -w kernel.perf_event_paranoid=1; then
    echo "ci_prepare: the kernel keeps perf's rights as they are; profiles and counters may be missing" >&2
fi
