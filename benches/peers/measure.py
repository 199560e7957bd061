"""Contestants in turns, medians, tables, and the machine they belong to.

A table is a dictionary: `title`, `unit`, `better` ("more" or "less"), `rows` (contestant → measurements),
`left_out` (contestant → reason) and `notes`. The text before the first comma of a contestant names it,
the rest is its configuration.
"""

import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

OURS = "Pawprint"
HERE = Path(__file__).parent


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def processors():
    return len(os.sched_getaffinity(0))


def quantile(values, share):
    """Between two values, in proportion: `share` 0.5 is the median."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low, high = ordered[int(place)], ordered[min(int(place) + 1, len(ordered) - 1)]
    return low + (high - low) * (place - int(place))


def turns(contestants, rounds):
    """Contestants round after round; each goes first in turn."""
    for number in range(rounds):
        at = number % len(contestants)
        yield from contestants[at:] + contestants[:at]


def take_turns(contestants, rounds):
    """Calls the contestants (label → function that returns measurements) in turns; returns the
    measurements of each and why some were left out."""
    rows, left_out = {label: [] for label in contestants}, {}
    for label in turns(list(contestants), rounds):
        if label in left_out:
            continue
        say(label)
        try:
            measured = contestants[label]()
            if not measured:
                raise RuntimeError("it measured nothing")
            rows[label] += measured
        # A peer may fail in any way, and the others are still compared.
        except Exception as error:
            if label.startswith(OURS):
                raise
            left_out[label] = str(error) or type(error).__name__
            say(f"left out: {label}: {error}")
    return {label: values for label, values in rows.items() if label not in left_out}, left_out


def table(title, unit, better, rows, left_out=None, notes=()):
    return {
        "title": title,
        "unit": unit,
        "better": better,
        "rows": rows,
        "left_out": left_out or {},
        "notes": list(notes),
    }


def script(python, name, *arguments, environment=None):
    """What a script of this folder prints in lines of JSON, within an hour."""
    command = [python, HERE / name, *map(str, arguments)]
    environment = os.environ | (environment or {})
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=3600)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip()[-1000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def cpuinfo(*fields):
    """The value of the first of these fields of the first processor in /proc/cpuinfo; empty if it has none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(fields):
                return line.partition(":")[2].strip()
    return ""


def cpu():
    flags = cpuinfo("flags", "Features").split()
    known = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16") if flag in flags]
    return f"{cpuinfo('model name') or platform.machine()} ({', '.join(known)})"


def cpu_type():
    """The faster number type of this CPU: one without bf16 emulates it, ten times as slowly as fp32."""
    flags = {"avx512_bf16", "amx_bf16", "bf16"} & set(cpuinfo("flags", "Features").split())
    return "bf16" if flags else "fp32"


def fast_type():
    """The faster number type of the GPU, if there is one, or of the CPU."""
    return "bf16" if gpu() else cpu_type()


def gpu():
    """The name of an NVIDIA GPU, if there is one."""
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        return subprocess.check_output(query, text=True).splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def versions(python, requirements):
    """Versions of the packages that a file of requirements names, as far as they are installed."""
    lines = (line.split("#")[0].strip() for line in requirements.read_text().splitlines())
    names = {line.split("==")[0].split("[")[0] for line in lines if line}
    code = f"""if True:
        from importlib.metadata import distributions
        found = {{name: it.version for it in distributions() if (name := it.name.replace("_", "-")) in {names!r}}}
        print(", ".join(f"{{name}} {{found[name]}}" for name in sorted(found)))"""
    return subprocess.check_output([python, "-c", code], text=True).strip()


def machine(args):
    return {
        "date": datetime.date.today().isoformat(),
        "form": "short" if args.short else "full",
        "rounds": args.rounds or "as the form has them",
        "photos": args.data.name,
        "CPU": f"{cpu()}, {processors()} processors",
        "GPU": gpu() or "none",
        OURS: subprocess.check_output([args.program, "--version"], text=True).strip(),
    } | {
        f"peers in `{name}`": versions(python, HERE / f"requirements-{name}.txt")
        for name, python in args.pythons.items()
    }
