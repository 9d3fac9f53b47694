#!/usr/bin/env python3
"""Writes a report of results: Markdown for a pull request, and an HTML page that holds everything."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # python -P and -I leave it out

import tree_path

if __name__ == "__main__":
    try:
        from runner.reports.main import main

        status = main(sys.argv[1:], tree_path.need)
    except KeyboardInterrupt:  # while it was still starting
        sys.stderr.write("Interrupted; no half-written report was left behind.\n")
        status = 130
    sys.exit(status)
