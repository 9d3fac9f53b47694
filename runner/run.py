#!/usr/bin/env python3
"""Starts the runner from any directory and with any Python 3.9 or newer."""
import os
import sys

if sys.version_info < (3, 9):
    sys.stderr.write(
        "run.py: this is Python %d.%d; the runner needs Python 3.9 or newer, for example "
        "Debian's package python3.\n" % sys.version_info[:2]
    )
    sys.exit(2)

# The modules are imported as a package from the tree that this file lies in. The runner's own
# folder leaves the path, so that no module of ours can hide one of another library.
_FOLDER = os.path.dirname(os.path.realpath(__file__))
_ROOT = os.path.dirname(_FOLDER)
sys.path[:] = [_ROOT] + [
    entry for entry in sys.path if os.path.realpath(entry or ".") != _FOLDER
]

from runner.main import main  # noqa: E402  (the path has to be right first)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
