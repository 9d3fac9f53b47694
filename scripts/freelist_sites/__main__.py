"""Starts the programs from any directory: python.sh freelist_sites analyze|verify ARGUMENT..."""
import os
import sys

# The modules are a package; its own folder leaves the path, so that none hides a library's.
_FOLDER = os.path.dirname(os.path.realpath(__file__))
sys.dont_write_bytecode = True
sys.path[:] = [os.path.dirname(_FOLDER)] + [p for p in sys.path if os.path.realpath(p or ".") != _FOLDER]

from freelist_sites.main import main  # noqa: E402  (the path has to be right first)

sys.exit(main(sys.argv[1:]))
