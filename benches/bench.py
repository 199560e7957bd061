#!/usr/bin/env python3
"""Measures Pawprint beside its peers in one run on one machine. Prints Markdown tables and a summary.

usage: benches/bench.py PROGRAM DATA [--short] [--only AREA,…] [--rounds N] [--json FILE] [--afresh | --python PYTHON]
       benches/bench.py --compare A.json B.json

Areas: train, serve, base (EfficientNet-Lite0), job (from a folder of photos to a prediction), large (photos of
12 megapixels), limits (what the machine can do at most). DATA has
dogs-vs-cats/{train,validation,test}/{cat,dog}/. The peers are set up in Python environments in target/bench.
--short takes minutes, with fewer images and rounds. --compare says where B is slower than A, relative to the
peers, and then exits with status 1. benches/README.md says more.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from peers import base, job, large, limits, serving, setup, training  # noqa: E402
from peers.measure import machine, say  # noqa: E402
from peers.report import compare, print_summary, print_table  # noqa: E402

AREAS = {
    "limits": limits.run,
    "serve": serving.run,
    "large": large.run,
    "base": base.run,
    "train": training.run,
    "job": job.run,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program", nargs="?", type=Path)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--short", action="store_true", help="minutes instead of hours")
    parser.add_argument("--only", help=f"areas, of: {','.join(AREAS)}")
    parser.add_argument("--rounds", type=int, help="how often each contestant has its turn")
    parser.add_argument("--json", type=Path, help="where results go [default: target/bench/result.json]")
    peers = parser.add_mutually_exclusive_group()
    peers.add_argument("--afresh", action="store_true", help="set up the peers again")
    peers.add_argument("--python", help="use this Python's packages as peers, in their versions, and install none")
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("A", "B"))
    args = parser.parse_args()
    if args.compare:
        sys.exit(compare(*(json.loads(file.read_text()) for file in args.compare)))
    if not args.program or not args.data:
        parser.error("PROGRAM and DATA are required")
    if not (args.data / "dogs-vs-cats/train/cat").is_dir():
        parser.error(f"{args.data} has no dogs-vs-cats/train/cat: DATA is a folder with dogs-vs-cats in it")
    chosen = args.only.split(",") if args.only else list(AREAS)
    if unknown := set(chosen) - set(AREAS):
        parser.error(f"unknown areas: {', '.join(sorted(unknown))}")
    args.program, args.data = args.program.resolve(), args.data.resolve()
    if args.rounds is not None and args.rounds < 1:
        parser.error("--rounds must be at least 1")
    output = (args.json or setup.FOLDER / "result.json").resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    os.chdir(setup.ROOT)
    args.pythons = setup.environments(args.afresh, args.python)
    about, tables = machine(args), []
    print("\n".join(f"- {key}: {value}" for key, value in about.items()), flush=True)
    for area in chosen:
        for table in AREAS[area](args):
            print_table(table)
            sys.stdout.flush()
            tables.append(table)
            # At once: what was measured for hours outlasts an interruption.
            output.write_text(json.dumps({"machine": about, "tables": tables}, indent=1, ensure_ascii=False) + "\n")
    print_summary(tables)
    say(f"results are in {output}")


if __name__ == "__main__":
    # So that the servers under way are stopped, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
