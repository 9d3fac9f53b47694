#!/usr/bin/env bash
# Prints where the allocator accesses slabs' freelists and remote queues; --help says more.
set -euo pipefail
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
exec "$here/python.sh" "$here/freelist_sites" analyze "$@"
