#!/usr/bin/env python3
"""Shows where a workload's time goes with an allocator, or what differs between two."""
import sys

import tree_path  # noqa: F401  (finds the tree that this file lies in)

from runner.hotspots_main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
