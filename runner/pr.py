#!/usr/bin/env python3
"""Does for a pull request what continuous integration does: build, measure, compare, profile, report."""
import sys

import tree_path  # noqa: F401  (finds the tree that this file lies in)

from runner.pr_main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
