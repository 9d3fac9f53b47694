#!/usr/bin/env python3
"""Measures allocators side by side; with --rev, two builds of hakmem."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # python -P and -I leave it out

import tree_path  # noqa: E402,F401  (finds the tree that this file lies in, and takes its folder off again)

from runner.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
