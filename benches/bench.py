#!/usr/bin/env python3
"""Measures Pawprint beside its peers in one run on one machine: training, features, a whole job from a
folder of photos to a serving model, and serving over HTTP. Prints Markdown tables of ratios.

usage: benches/bench.py PROGRAM DATA [--short] [--only AREA,…] [--rounds N] [--json FILE] [--afresh]
       benches/bench.py --compare A.json B.json

AREA is one of: train, serve. DATA has dogs-vs-cats/{train,validation,test}/{cat,dog}/. The peers are set
up in Python environments in target/bench. Contestants take turns in each round, so that what else the
machine does hits all alike; tables have medians and quartiles. --short takes minutes, with fewer images and
rounds. With --compare, two results of --json: where B is slower than A.
"""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from peers import setup, serving, training  # noqa: E402
from peers.measure import compare, machine, print_table  # noqa: E402

AREAS = {"train": training.run, "serve": serving.run}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program", nargs="?")
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", help=f"areas, of: {', '.join(AREAS)}")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--afresh", action="store_true", help="set up the peers again")
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("A", "B"))
    args = parser.parse_args()
    if args.compare:
        sys.exit(compare(*(json.loads(file.read_text()) for file in args.compare)))
    if not args.program or not args.data:
        parser.error("PROGRAM and DATA are required")
    chosen = args.only.split(",") if args.only else list(AREAS)
    if unknown := set(chosen) - set(AREAS):
        parser.error(f"unknown areas: {', '.join(sorted(unknown))}")
    args.program = str(Path(args.program).resolve())
    args.pythons = setup.environments(args.afresh)
    about = machine(args)
    print("\n".join(f"- {key}: {value}" for key, value in about.items()))
    tables = []
    for area in chosen:
        for table in AREAS[area](args):
            print_table(table)
            tables.append(table)
    if args.json:
        args.json.write_text(json.dumps({"machine": about, "tables": tables}, indent=1) + "\n")


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    main()
