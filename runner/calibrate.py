#!/usr/bin/env python3
"""Measures how often the verdicts of run.py --rev and compare.py err on this machine."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # python -P and -I leave it out

import tree_path

tree_path.need({"numpy": "python3-numpy"})

from runner.calibrating.calibration import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
