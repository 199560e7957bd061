"""Starts the binary of this package with the libtorch of the installed torch package."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent


def main():
    """Becomes the binary: the same process, so signals and exit codes need no care."""
    wanted = (HERE / "torch-version").read_text().strip()
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"pawprint: the Python package torch is missing; install it with: pip install torch=={wanted}")
    torch = Path(spec.submodule_search_locations[0])
    found = version(torch)
    if found != wanted:
        sys.exit(
            f"pawprint: torch is version {found}, but this version of Pawprint needs {wanted}; "
            f"install it with: pip install torch=={wanted}"
        )
    # For the trainers too, which the server starts.
    folders = [str(torch / "lib"), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(folders)
    os.execv(HERE / "bin" / "pawprint", ["pawprint", *sys.argv[1:]])


def version(torch):
    """The version of the package in the folder `torch`, without "+cpu" or the like. Importing torch would
    tell it too, but takes seconds."""
    for line in (torch / "version.py").read_text().splitlines():
        if line.startswith("__version__ = "):
            return line.split("'")[1].partition("+")[0]
    return "unknown"
