"""Epochs and feature passes, decoding included: each contestant is a process of its own."""

import json
import random
import shutil
import subprocess
from pathlib import Path

from .measure import turns
from .pawprint import Pawprint
from .setup import FOLDER

HERE = Path(__file__).parent
TRAINED = ["scratch_cnn", "augmented_cnn", "vgg16_finetune"]
FEATURES = ["vgg16_features", "efficientnet_lite0_features"]
# Label, environment, script, variant.
PEERS = [
    ("Keras on TensorFlow, as the notebook", "keras", "train_keras.py", "notebook"),
    ("Keras on TensorFlow, jit_compile, prefetch", "keras", "train_keras.py", "jit"),
    ("PyTorch, eager fp32", "torch", "train_torch.py", "eager"),
    ("PyTorch, channels last, bf16, torch.compile", "torch", "train_torch.py", "compiled"),
]
OURS = "Pawprint"


def photos(data, per_class, folder):
    """The first part of the photos: so many of each class to train, half as many to validate and to test."""
    shutil.rmtree(folder, ignore_errors=True)
    for split, count in (("train", per_class), ("validation", per_class // 2), ("test", per_class // 2)):
        for label in ("cat", "dog"):
            source, target = data / "dogs-vs-cats" / split / label, folder / split / label
            target.mkdir(parents=True)
            files = sorted(source.iterdir())
            for file in random.Random(0).sample(files, min(count, len(files))):
                shutil.copy(file, target)
    return folder


def vgg16_weights(python):
    """A file of random weights of VGG16 as torchvision stores them: they change nothing of the time."""
    file = FOLDER / "vgg16.pth"
    if not file.exists():
        code = "import sys, torch, torchvision; torch.save(torchvision.models.vgg16(weights=None).state_dict(), sys.argv[1])"
        subprocess.run([python, "-c", code, file], check=True)
    return file


def rates(lines):
    """Images per second of all epochs but the first, in which caches fill and kernels are compiled; of
    the first if there is no other."""
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [each["images"] / each["seconds"] for each in found[1:] or found]


def run(args):
    per_class, epochs, rounds = (100, 2, args.rounds or 2) if args.short else (500, 3, args.rounds or 5)
    folder = photos(args.data, per_class, FOLDER / "photos")
    weights = vgg16_weights(args.pythons["torch"])
    images = per_class * 2 + per_class // 2 * 2
    for recipe in TRAINED + FEATURES:
        contestants = [(OURS, None, None, None)]
        contestants += [it for it in PEERS if it[1] == "torch" or not recipe.startswith("efficientnet")]
        rows = {label: [] for label, *_ in contestants}
        for label, environment, script, variant in turns(contestants, rounds):
            if label == OURS:
                rows[label] += ours(args.program, recipe, folder, weights, epochs, images)
            else:
                command = [args.pythons[environment], HERE / script, recipe, variant, folder, str(epochs)]
                done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                if done.returncode == 0:
                    rows[label] += rates(done.stdout.splitlines())
        what = "feature pass" if recipe in FEATURES else "epoch with validation"
        yield {
            "title": f"{recipe}: {what}, {images} images",
            "unit": "images/s",
            "better": "more",
            "reference": OURS,
            "rows": {label: values for label, values in rows.items() if values},
            "left_out": [label for label, values in rows.items() if not values],
        }


def ours(program, recipe, folder, weights, epochs, images):
    with Pawprint(program, FOLDER / "server") as server:
        server.cli("import", folder, "--dataset", "photos")
        if recipe.startswith("vgg16"):
            server.cli("weights", "import", weights)
        if recipe in FEATURES:
            server.train(recipe, "photos", "job", epochs=1)
            count, seconds = server.features("job")
            return [count / seconds]
        options = {"epochs": epochs}
        if recipe == "vgg16_finetune":
            server.train("vgg16_features", "photos", "head", epochs=1)
            options["head_from"] = "head"
        server.train(recipe, "photos", "job", **options)
        seconds = server.epochs("job")
        return [images / each for each in seconds[1:] or seconds]
