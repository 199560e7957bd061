"""What the benchmark needs, in target/bench: Python environments of the peers, programs, photos, weights."""

import json
import os
import random
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

from .measure import HERE, say

ROOT = HERE.parent.parent
FOLDER = ROOT / "target/bench"


def environments(afresh, python=None):
    """The Python of each environment, `torch` and `keras`: `python` for both if it is given."""
    if python:
        # Not resolved: a virtual environment's Python is a link to the one it was made of.
        program = shutil.which(python) or sys.exit(f"bench: there is no program {python}")
        FOLDER.mkdir(parents=True, exist_ok=True)
        return dict.fromkeys(("torch", "keras"), Path(program).absolute())
    return {name: environment(name, afresh) for name in ("torch", "keras")}


def environment(name, afresh):
    requirements = HERE / f"requirements-{name}.txt"
    python, stamp = FOLDER / name / "bin/python", FOLDER / f"{name}.installed.txt"
    if afresh or not stamp.exists() or stamp.read_text() != requirements.read_text():
        stamp.unlink(missing_ok=True)
        say(f"installing {requirements.name}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER / name], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", requirements], check=True)
        stamp.write_text(requirements.read_text())
    return python


def benchmark(name):
    """The executable of `cargo bench --bench NAME`."""
    cargo = [os.environ.get("CARGO", "cargo"), "bench", "--locked", "--bench", name, "--no-run"]
    messages = subprocess.run([*cargo, "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    for message in map(json.loads, messages.splitlines()):
        if message.get("target", {}).get("name") == name and message.get("executable"):
            return message["executable"]
    sys.exit(f"bench: cargo built no benchmark {name}")


def photos(data, train, validation, test):
    """A folder of so many photos of each class in each split, as many as there are at most."""
    folder = FOLDER / f"photos-{train}-{validation}-{test}-{zlib.crc32(bytes(data)):08x}"
    if folder.exists():
        return folder
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for split, count in (("train", train), ("validation", validation), ("test", test)):
        for label in ("cat", "dog"):
            source, target = data / "dogs-vs-cats" / split / label, partial / split / label
            target.mkdir(parents=True)
            files = sorted(source.iterdir())
            for file in random.Random(0).sample(files, min(count, len(files))):
                shutil.copy(file, target)
    partial.rename(folder)
    return folder


def count(folder, *splits):
    """The number of photos in those splits of a folder."""
    return sum(len(files) for split in splits for _, _, files in os.walk(folder / split))


def vgg16_weights(python):
    """A file of random weights of VGG16 as torchvision stores them: they change nothing of the time."""
    file = FOLDER / "vgg16.pth"
    if not file.exists():
        save = "torch.save(torchvision.models.vgg16(weights=None).state_dict(), sys.argv[1])"
        subprocess.run([python, "-c", f"import sys, torch, torchvision; {save}", file], check=True)
    return file


def lite0(python):
    """The environment in which the peers find EfficientNet-Lite0 with Pawprint's weights, and the
    benchmark program that has them."""
    program, weights, onnx = benchmark("inference"), FOLDER / "lite0.safetensors", FOLDER / "lite0.onnx"
    subprocess.run([program, "--export", weights], check=True)
    environment = {"LITE0": str(weights), "LITE0_ONNX": str(onnx)}
    export = [python, "-c", "import networks; networks.export_lite0()"]
    subprocess.run(export, cwd=HERE, env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)
    return environment, program
