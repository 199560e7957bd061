"""A person's whole job: from a folder of photos to the first prediction of an evaluated model.

The time of a peer is that of one script, from its start to the first prediction over HTTP: it loads, trains,
evaluates and serves.
"""

import time

from .measure import OURS, processors, table, take_turns
from .pawprint import Pawprint
from .serving import Peer, first_prediction
from .setup import FOLDER, count, lite0, photos

SPLITS = ("train", "validation", "test")
# Label, environment, command.
SMALL = [
    ("Keras as the notebook, and FastAPI", "keras", ["job_keras.py", "notebook"]),
    ("Keras with cache and prefetch, and FastAPI", "keras", ["job_keras.py", "cached"]),
    ("Keras with jit_compile, cache and prefetch, and FastAPI", "keras", ["job_keras.py", "jit"]),
    ("fastai with the same network, and FastAPI", "torch", ["job_fastai.py"]),
]
FEATURES = [
    ("timm and scikit-learn, and FastAPI", "torch", ["job_features.py", "eager"]),
    ("ONNX Runtime and scikit-learn, and FastAPI", "torch", ["job_features.py", "onnxruntime"]),
]


def run(args):
    counts, epochs, rounds = (
        ((100, 50, 100), 2, args.rounds or 1) if args.short else ((1000, 500, 1000), 3, args.rounds or 3)
    )
    folder = photos(args.data, *counts)
    environment, _ = lite0(args.pythons["torch"])
    yield contest(args, "scratch_cnn", folder, epochs, rounds, SMALL, environment)
    yield contest(args, "efficientnet_lite0_features", folder, None, rounds, FEATURES, environment)


def contest(args, recipe, folder, epochs, rounds, peers, environment):
    photo = min((folder / "test/cat").iterdir()).read_bytes()
    accuracies = {}

    def ours():
        started = time.monotonic()
        with Pawprint(args.program, FOLDER / "server") as server:
            server.cli("import", folder, "--dataset", "photos")
            server.train(recipe, "photos", "job", **({"epochs": epochs} if epochs else {}))
            first_prediction(server, photo, "?model=job")
            seconds = time.monotonic() - started
            accuracies[OURS] = server.get("/jobs/job/evaluation")["accuracy"]
        return [seconds]

    def theirs(label, name, command):
        started = time.monotonic()
        command = [*command, "{port}", str(folder), str(epochs or 0)]
        with Peer(args.pythons[name], "", processors(), command, environment) as peer:
            accuracies[label] = first_prediction(peer, photo)["test_accuracy"]
            return [time.monotonic() - started]

    contestants = {OURS: ours} | {it[0]: lambda it=it: theirs(*it) for it in peers}
    rows, left_out = take_turns(contestants, rounds)
    accuracy = "; ".join(f"{label} {accuracy:.3f}" for label, accuracy in accuracies.items())
    length = f", {epochs} epochs" if epochs else ""
    title = f"From a folder of {count(folder, *SPLITS)} photos to a prediction: {recipe}{length}"
    return table(title, "s", "less", rows, left_out, [f"Test accuracy: {accuracy}."])
