#!/usr/bin/env python3
"""Checks a phase's criteria, which stand in gates.toml, and says which of them fail."""
import sys

import tree_path

from runner.gate_needs import need_libraries

if __name__ == "__main__":
    need_libraries(tree_path.need, sys.argv[1:])
    from runner.gate_main import main

    sys.exit(main(sys.argv[1:]))
