#!/usr/bin/env python3
"""Measures how often the verdicts of run.py --rev and compare.py err on this machine."""
import sys

import tree_path

tree_path.need({"numpy": "python3-numpy", "scipy": "python3-scipy"})

from runner.calibration import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
