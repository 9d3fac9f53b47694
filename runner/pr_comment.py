#!/usr/bin/env python3
"""Posts a report as a comment on a pull request, or updates the comment that is there."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # python -P and -I leave it out

import tree_path  # noqa: F401  (finds the tree that this file lies in)

from runner.pull_request.comment_main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
