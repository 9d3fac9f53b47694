#!/usr/bin/env python3
"""Posts a report as a comment on a pull request, or updates the comment that is there."""
import sys

import tree_path  # noqa: F401  (finds the tree that this file lies in)

from runner.pr_comment_main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
