#!/usr/bin/env python3
"""Measures allocators side by side; with --rev, two builds of hakmem."""
import sys

import tree_path  # noqa: F401  (finds the tree that this file lies in)

from runner.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
