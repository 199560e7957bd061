#!/usr/bin/env python3
"""Measures what grows: requests, import, training and memory with 1,000 to 100,000 images, with up to 10,000 jobs,
500 models, and 10,000 epochs of one job. Prints Markdown tables that say what is flat or linear, within 1.3×
or 0.2 ms.

usage: benches/growth.py PROGRAM DATA [--short] [--only PART] [--json FILE]

Runs a server of its own on an empty data directory in target/bench, with photos made of those in DATA (any JPEGs).
The full form takes half an hour and 6 GB of disk space; --short, up to 5,000 images and 1,000 jobs, takes minutes.
PART is images or jobs. What would fill the disk or take a job of more than five minutes is left out.
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from growing import images, jobs  # noqa: E402
from peers import setup  # noqa: E402
from peers.measure import cpu  # noqa: E402

PARTS = {"images": images.run, "jobs": jobs.run}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.program, args.data = str(args.program.resolve()), args.data.resolve()
    args.python = setup.environment("photos", False)
    about = {
        "date": date.today().isoformat(),
        "CPU": f"{cpu()}, {len(os.sched_getaffinity(0))} processors",
        "Pawprint": subprocess.check_output([args.program, "--version"], text=True).strip(),
    }
    print("\n".join(f"- {key}: {value}" for key, value in about.items()), flush=True)
    tables = []
    for part in [args.only] if args.only else PARTS:
        for table in PARTS[part](args):
            table.print()
            tables.append(table.json())
    if args.json:
        args.json.write_text(json.dumps({"machine": about, "tables": tables}, indent=1) + "\n")


if __name__ == "__main__":
    main()
