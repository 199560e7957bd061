"""Python environments of the peers, in target/bench."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parent.parent / "target/bench"


def environments(afresh):
    """The Python of each environment: `torch` and `keras`."""
    return {name: environment(name, afresh) for name in ("torch", "keras")}


def environment(name, afresh):
    requirements = HERE / f"requirements-{name}.txt"
    python, stamp = FOLDER / name / "bin/python", FOLDER / f"{name}.installed.txt"
    if afresh or not stamp.exists() or stamp.read_text() != requirements.read_text():
        stamp.unlink(missing_ok=True)
        print(f"bench: installing {requirements.name}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER / name], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", requirements], check=True)
        stamp.write_text(requirements.read_text())
    return python
