#!/usr/bin/env python3
"""Keeps a history of runs: adds them, lists commits, shows trends, exports."""
import sys

import tree_path  # noqa: F401  (finds the tree that this file lies in)

from runner.history_main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], tree_path.need))
