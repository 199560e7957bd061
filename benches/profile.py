#!/usr/bin/env python3
"""Flame graphs of Pawprint at work, and the shares of processor time by where it is spent.

usage: benches/profile.py PROGRAM DATA FOLDER [--only ROW,…]

Writes FOLDER/ROW.svg and prints a table. Needs Linux's `perf` and `inferno` (`cargo install inferno`), and the
right to use the first on processes of one's own. DATA has dogs-vs-cats/{train,validation,test}/{cat,dog}/.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from peers import setup  # noqa: E402
from peers.large import large_photos  # noqa: E402
from peers.pawprint import Pawprint  # noqa: E402

SECONDS = 4
RECIPES = [
    "scratch_cnn",
    "augmented_cnn",
    "vgg16_features",
    "vgg16_finetune",
    "efficientnet_lite0_features",
    "efficientnet_lite0_finetune",
]
# Frames above our own, which each stack has.
RUNTIME = re.compile(r"^(clone3?|start_thread|_start|__libc_start|core::ops::function|<?std::|__rust_|<?tokio::|<?core::)")
# Where time is spent: the first name that a frame of a stack begins with, from its innermost frame outwards.
WHERE = {
    "convolutions (oneDNN's generated code)": ("jit_", "[perf-"),
    "JPEG decoding": ("libjpeg_turbo_rs", "pawprint::vision::jpeg"),
    "resizing": ("fast_image_resize", "pawprint::vision::resize"),
    "memory allocation": ("_int_malloc", "_int_free", "malloc", "free", "cfree", "_int_memalign", "__libc_memalign", "unlink_chunk"),
    "max pooling": ("at::native::(anonymous namespace)::cpu_max_pool", "pawprint::architectures::conv_relu::max_pool"),
    "libtorch, other": ("at::", "c10::", "dnnl", "ideep", "torch::", "atg_"),
    "SQLite": ("sqlite3",),
    "hashing": ("sha2", "pawprint::domain::dataset::digest"),
    "HTTP": ("hyper", "axum", "pawprint::http"),
    "kernel": ("entry_SYSCALL", "do_syscall", "asm_"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program")
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only")
    args = parser.parse_args()
    args.program, args.folder = str(Path(args.program).resolve()), args.folder.resolve()
    args.folder.mkdir(parents=True, exist_ok=True)
    args.pythons = {"torch": setup.environment("torch", False)}
    # oneDNN names its generated code in /tmp/perf-PID.map.
    os.environ["ONEDNN_JIT_PROFILE"] = "6"
    rows = {"predict": predict, "predict_lite0": predict_lite0, "predict_12mp": predict_12mp, "import": imported}
    rows |= {recipe: lambda args, recipe=recipe: trained(args, recipe) for recipe in RECIPES}
    for name in args.only.split(",") if args.only else rows:
        flame_graph(args, name, rows[name](args))


def predict(args):
    folder = setup.photos(args.data, 100, 50, 50)
    with Pawprint(args.program, setup.FOLDER / "server") as server:
        server.cli("import", folder, "--dataset", "photos")
        server.train("scratch_cnn", "photos", "small", epochs=1)
        server.cli("models", "use", "small")
        return under_load(server, folder)


def predict_lite0(args):
    with Pawprint(args.program, setup.FOLDER / "server") as server:
        return under_load(server, setup.photos(args.data, 100, 50, 50))


def predict_12mp(args):
    with Pawprint(args.program, setup.FOLDER / "server") as server:
        return under_load(server, large_photos(args))


def under_load(server, folder):
    """Stacks while eight clients wait for their predictions."""
    load = [setup.benchmark("load"), server.url, folder, "--closed-json", "--clients", "8", "--seconds", str(SECONDS + 4)]
    with subprocess.Popen(load, stdout=subprocess.DEVNULL) as clients:
        time.sleep(4)
        stacks = record(server.process.pid)
        clients.terminate()
    return stacks


def imported(args):
    folder = setup.photos(args.data, 1000, 500, 500)
    with Pawprint(args.program, setup.FOLDER / "server") as server:
        with subprocess.Popen(
            [args.program, "import", folder, "--dataset", "photos"],
            env=os.environ | {"PAWPRINT_SERVER": server.url}, stdout=subprocess.DEVNULL,
        ):  # fmt: skip
            return record(server.process.pid)


def trained(args, recipe):
    # Features of a few photos would be ready before they can be watched.
    size = 1000 if recipe == "efficientnet_lite0_features" else 250
    folder = setup.photos(args.data, size, size // 2, size // 2)
    with Pawprint(args.program, setup.FOLDER / "server") as server:
        server.cli("import", folder, "--dataset", "photos")
        if recipe.startswith("vgg16"):
            server.cli("weights", "import", setup.vgg16_weights(args.pythons["torch"]))
        server.cli("train", "--dataset", "photos", "--recipe", recipe, "--name", "job")
        return record(trainer(server.process.pid))


def trainer(server):
    """The process of the trainer, once it computes."""
    for _ in range(200):
        children = subprocess.run(["pgrep", "-P", str(server)], capture_output=True, text=True).stdout.split()
        if children:
            time.sleep(0.5)
            return children[0]
        time.sleep(0.05)
    sys.exit("profile: no trainer was started")


def record(pid):
    """Samples of a process: a line for each stack, outermost frame first, and its weight."""
    data = setup.FOLDER / "perf.data"
    perf = ["perf", "record", "--call-graph", "dwarf,16384", "-F", "199", "-p", str(pid), "-o", data]
    # It fails when the process ends before.
    subprocess.run([*perf, "--", "sleep", str(SECONDS)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    script = subprocess.run(["perf", "script", "-i", data, "--no-inline"], capture_output=True).stdout
    folded = subprocess.run(["inferno-collapse-perf"], input=script, capture_output=True, check=True).stdout.decode()
    data.unlink()
    return folded.splitlines()


def flame_graph(args, name, stacks):
    shown, where = Counter(), Counter()
    for line in stacks:
        stack, weight = line.rsplit(" ", 1)
        thread, *frames = stack.split(";")
        own = [frame for frame in frames if not RUNTIME.match(frame)]
        kernels = [re.sub(r"(jit_\w+?)(\.\d+)?$", r"\1", frame) for frame in own]
        shown[";".join([thread, *kernels])] += int(weight)
        where[place(frames)] += int(weight)
    title = ["--title", name, "--subtitle", f"{SECONDS} s, share of processor time", "--minwidth", "0.4"]
    lines = "\n".join(f"{stack} {weight}" for stack, weight in shown.items())
    svg = subprocess.run(["inferno-flamegraph", *title], input=lines.encode(), capture_output=True, check=True).stdout
    (args.folder / f"{name}.svg").write_bytes(svg)
    total = sum(where.values())
    shares = "; ".join(f"{key} {weight / total:.0%}" for key, weight in where.most_common() if weight > total / 100)
    print(f"| `{name}` | {shares} |", flush=True)


def place(frames):
    for frame in reversed(frames):
        for name, starts in WHERE.items():
            if frame.startswith(starts):
                return name
    return "other"


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    main()
