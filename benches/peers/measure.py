"""Medians, tables, and the machine they belong to.

A table is a dictionary: `title`, `unit`, `better` ("more" or "less"), `reference` (the contestant that the
ratios are to) and `rows`: contestant → measurements.
"""

import datetime
import os
import platform
import subprocess
from pathlib import Path

# What counts as a loss of speed in a comparison, if the quartiles do not overlap either.
LOSS = 1.05


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def turns(contestants, rounds):
    """Contestants round after round; each goes first in turn."""
    for number in range(rounds):
        at = number % len(contestants)
        yield from contestants[at:] + contestants[:at]


def print_table(table):
    rows, reference = table["rows"], table["reference"]
    print(f"\n### {table['title']}\n\n| | {table['unit']}, median (quartiles) | Pawprint is |\n|---|---:|---:|")
    ours = quantile(rows[reference], 0.5)
    for name, values in rows.items():
        low, middle, high = (quantile(values, share) for share in (0.25, 0.5, 0.75))
        by = ours / middle if table["better"] == "more" else middle / ours
        ratio = "" if name == reference else f"{by:.2f}×"
        print(f"| {name} | {middle:.4g} ({low:.4g}–{high:.4g}) | {ratio} |")


def compare(before, after):
    """Prints where Pawprint in `after` is slower than in `before`, as ratios to what both have in common:
    the machine may be another. Returns an exit status."""
    known = {table["title"]: table for table in before["tables"]}
    lost = 0
    for table in after["tables"]:
        if (old := known.get(table["title"])) is None:
            continue
        for peer in table["rows"].keys() & old["rows"].keys() - {table["reference"]}:
            then, now = (
                quantile(it["rows"][it["reference"]], 0.5) / quantile(it["rows"][peer], 0.5) for it in (old, table)
            )
            slower = then / now if table["better"] == "more" else now / then
            if slower > LOSS:
                lost += 1
            print(f"{table['title']}, to {peer}: {'slower' if slower > LOSS else 'not slower'} ({1 / slower:.2f}×)")
    return 1 if lost else 0


def cpu():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    known = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{name} ({', '.join(known)})"


def versions(python, packages):
    code = f"import importlib.metadata as m; print(', '.join(f'{{p}} {{m.version(p)}}' for p in {packages!r}))"
    return subprocess.check_output([python, "-c", code], text=True).strip()


def machine(args):
    torch = ["torch", "onnxruntime", "openvino", "fastapi", "litserve", "bentoml"]
    return {
        "date": datetime.date.today().isoformat(),
        "CPU": f"{cpu()}, {len(os.sched_getaffinity(0))} processors",
        "Pawprint": subprocess.check_output([args.program, "--version"], text=True).strip(),
        "peers": "; ".join(
            [versions(args.pythons["torch"], torch), versions(args.pythons["keras"], ["keras", "tensorflow-cpu"])]
        ),
    }
