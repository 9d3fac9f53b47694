#!/usr/bin/env python3
"""Checks a phase's criteria, which stand in gates.toml, and says which of them fail."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # python -P and -I leave it out

import tree_path

from runner.gates.needs import need_libraries

if __name__ == "__main__":
    need_libraries(tree_path.need, sys.argv[1:])
    from runner.gates.main import main

    sys.exit(main(sys.argv[1:]))
