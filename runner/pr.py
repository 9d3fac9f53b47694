#!/usr/bin/env python3
"""Does for a pull request what continuous integration does: build, measure, compare, profile, report."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # python -P and -I leave it out

import tree_path  # noqa: F401  (finds the tree that this file lies in)

from runner.pull_request.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
