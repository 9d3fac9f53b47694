#!/usr/bin/env bash
# Checks that all accesses to slabs' freelists go through the accessor header; --help says more.
set -euo pipefail
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
exec "$here/python.sh" "$here/freelist_sites" verify "$@"
