"""Lets a script of this folder start from any directory, with any Python 3.9 or newer.

A script imports this before everything else. The modules are then imported as a package from the tree
that the script lies in, and the script's own folder leaves the path, so that no module of ours can hide
one of another library. `need` moves on to a Python that has the libraries a script can't do without.
"""
import os
import sys

if sys.version_info < (3, 9):
    sys.stderr.write(
        "%s: this is Python %d.%d; it needs Python 3.9 or newer, for example Debian's package "
        "python3.\n" % ((os.path.basename(sys.argv[0]),) + sys.version_info[:2])
    )
    sys.exit(2)

_FOLDER = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(_FOLDER)
sys.path[:] = [ROOT] + [
    entry for entry in sys.path if os.path.realpath(entry or ".") != _FOLDER
]

_MOVED = "HAKMEM_RUNNER_MOVED"  # set for the Python that was moved to, so that none moves on for ever


def need(package_of: "dict[str, str]") -> None:
    """Go on only with a Python that can import every module named; `package_of` gives Debian's package
    of each. Another Python that has them all takes over with the same arguments; where there is none, a
    sentence says what to install, and the script ends with status 2."""
    missing = [module for module in package_of if not _importable(module)]
    if not missing:
        os.environ.pop(_MOVED, None)  # what we start is none of its business
        return
    from runner.pictures import environment_for, find_python

    python = None if _MOVED in os.environ else find_python(", ".join(package_of))
    if python is not None:
        environment = {**environment_for(python), _MOVED: "1"}
        os.execve(python, [python, *sys.argv], environment)
    packages = " ".join(sorted({package_of[module] for module in missing}))
    sys.stderr.write(
        f"{os.path.basename(sys.argv[0])}: no Python here has {', '.join(missing)}; install Debian's "
        f"packages with: apt-get install {packages}\n"
    )
    sys.exit(2)


def _importable(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return False
    return True
