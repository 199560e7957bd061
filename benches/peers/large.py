"""Photos of 12 megapixels, as telephones take them: through `/predict` and through import."""

import shutil
import subprocess
import time

from .measure import HERE, OURS, script, table, take_turns
from .pawprint import Pawprint
from .serving import contest, peers, settle
from .setup import FOLDER, photos

COUNT = 50


def run(args):
    folder = large_photos(args)
    seconds, rounds = (2, args.rounds or 1) if args.short else (8, args.rounds or 3)
    for measured in contest(args, folder, servers(), seconds, rounds, "/predict of 12 megapixels"):
        if "memory" not in measured["title"] and "start of the process" not in measured["title"]:
            yield measured
    contestants = {
        OURS: lambda: ours(args.program, folder),
        "Pillow in a process pool": lambda: theirs(args.pythons["torch"], folder),
    }
    rows, left_out = take_turns(contestants, args.rounds or (2 if args.short else 10))
    yield table(f"Import of {COUNT} photos of 12 megapixels", "photos/s", "more", rows, left_out)


def servers():
    """Each server in its best configuration, and FastAPI where photos are decoded in their full size."""
    best = {label: it for label, it in peers().items() if "ONNX Runtime" in label and it[1] > 1}
    (label, fastapi), *_ = best.items()
    name, configuration = label.split(", ", 1)
    whole = {f"{name} without draft(), {configuration}": (*fastapi, {"WHOLE": "1"})}
    return best | whole


def large_photos(args):
    """A folder of photos of 4000 x 3000 pixels, enlarged from smaller ones."""
    source = photos(args.data, 100, 50, 50) / "train"
    folder = FOLDER / f"large-{COUNT}-{source.parent.name}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        subprocess.run([args.pythons["torch"], HERE / "enlarge.py", source, partial, str(COUNT)], check=True)
        partial.rename(folder)
    return folder


def ours(program, folder):
    with Pawprint(program, FOLDER / "server") as server:
        settle(server.process.pid)
        started = time.monotonic()
        server.cli("import", folder, "--dataset", "large")
        seconds = time.monotonic() - started
        if (images := server.get("/datasets/large")["images"]) != COUNT:
            raise RuntimeError(f"Pawprint imported {images} photos")
    return [COUNT / seconds]


def theirs(python, folder):
    store = FOLDER / "import"
    shutil.rmtree(store, ignore_errors=True)
    started = time.monotonic()
    (done,) = script(python, "import_pillow.py", folder, store)
    seconds = time.monotonic() - started
    shutil.rmtree(store)
    if done["images"] != COUNT:
        raise RuntimeError(f"it imported {done['images']} photos")
    return [COUNT / seconds]
