#!/usr/bin/env python3
"""Compares two builds, or two allocators: faster, slower, the same or undecided, and how sure that is."""
import gc
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # python -P and -I leave it out

import tree_path

tree_path.need({"numpy": "python3-numpy"})

from runner.verdict.main import main  # noqa: E402  (numpy must be there first)

if __name__ == "__main__":
    gc.disable()  # very many small things are made, and none in circles
    sys.exit(main(sys.argv[1:]))
