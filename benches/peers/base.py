"""EfficientNet-Lite0: one photo's forward pass and batches, the features of a folder of photos, and
fine-tuning."""

import contextlib
import json
import os
import subprocess
import tempfile
import urllib.request

from .measure import HERE, OURS, fast_type, gpu, processors, script, table, take_turns
from .pawprint import Pawprint
from .serving import settle
from .setup import FOLDER, lite0, photos
from .training import ON_GPU, PASSES, WARMING, feature_rates, ours, rates, title

FEATURES, FINE_TUNING = "efficientnet_lite0_features", "efficientnet_lite0_finetune"
RUNTIMES = {
    "ONNX Runtime, fp32": "onnxruntime",
    "OpenVINO, precision of its own choice": "openvino",
    "timm eager, fp32": "eager",
    f"timm compiled, channels last, {fast_type()}": "compiled",
}
# Largest difference of features from those of Pawprint in fp32, as a share of the largest feature.
DIFFERENCE = {"ONNX Runtime, fp32": 1e-3, "timm eager, fp32": 1e-3}
DIFFERENCE_BF16 = 0.1


class Worker:
    """A process that answers lines, `threads batch kind passes`; see benches/inference.rs."""

    def __init__(self, command, kind, environment=None):
        environment = os.environ | (environment or {})
        self.errors = tempfile.TemporaryFile()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        self.process = subprocess.Popen(command, **pipes, text=True, env=environment)
        self.kind = kind

    def ask(self, threads, batch, passes):
        with contextlib.suppress(BrokenPipeError):
            print(threads, batch, self.kind, passes, file=self.process.stdin, flush=True)
        if line := self.process.stdout.readline():
            return json.loads(line)
        self.errors.seek(0)
        raise RuntimeError(self.errors.read().decode(errors="replace").strip()[-1000:] or "it ended unexpectedly")

    def stop(self):
        # What an ended one did not read is still to be written.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


class ServedPasses:
    """Passes of a server's requests, one after the other, on the engine and threads of its choice, with the head
    and whatever else an answer needs. It answers like a worker."""

    def __init__(self, server, photo):
        self.request = urllib.request.Request(f"{server.url}/predict", photo, {"Content-Type": "image/jpeg"})
        settle(server.process.pid)

    def ask(self, threads, batch, passes):
        assert (threads, batch) == (processors(), 1)
        return {"ms": [self.inference() for _ in range(passes)], "features": None}

    def inference(self):
        with urllib.request.urlopen(self.request) as response:
            return json.load(response)["timing_ms"]["inference"]


def run(args):
    python = args.pythons["torch"]
    environment, program = lite0(python)
    yield from forward_passes(args, python, program, environment)
    train, epochs, rounds = (48, 3, args.rounds or 1) if args.short else (250, 4, args.rounds or 3)
    train = ON_GPU if gpu() else train
    folder = photos(args.data, train, train // 2, train // 2)

    def features(runtime):
        at = ("lite0_features.py", runtime, folder, PASSES)
        return feature_rates(script(python, *at, environment=environment))

    def fine_tuning(runtime):
        at = ("train_torch.py", FINE_TUNING, runtime, folder, epochs)
        return rates(script(python, *at, environment=environment), WARMING)

    def contest(recipe, measure, labels):
        contestants = {OURS: lambda: ours(args.program, recipe, folder, None, epochs)}
        contestants |= {label: lambda at=RUNTIMES[label]: measure(at) for label in labels}
        return table(title(recipe, folder), "images/s", "more", *take_turns(contestants, rounds))

    yield contest(FEATURES, features, RUNTIMES)
    yield contest(FINE_TUNING, fine_tuning, [label for label in RUNTIMES if label.startswith("timm")])


def forward_passes(args, python, program, environment):
    seconds, rounds = (0.2, args.rounds or 3) if args.short else (0.5, args.rounds or 10)
    workers = {
        OURS: Worker([program, "--worker"], "auto"),
        f"{OURS} in fp32": Worker([program, "--worker"], "fp32"),
    } | {
        label: Worker([python, HERE / "lite0_worker.py", runtime], "-", environment)
        for label, runtime in RUNTIMES.items()
    }
    try:
        for threads in {processors()} if args.short else sorted({1, processors()}):
            for batch in (1, 32) if args.short else (1, 8, 32):
                yield forward_pass(workers, threads, batch, rounds, seconds)
        photo = min((photos(args.data, 48, 24, 24) / "test").rglob("*.jpg")).read_bytes()
        with Pawprint(args.program, FOLDER / "server") as server:
            served = {OURS: ServedPasses(server, photo), f"{OURS} in libtorch": workers[OURS]}
            yield forward_pass(workers | served, processors(), 1, rounds, seconds, "; Pawprint's as it serves")
    finally:
        for worker in workers.values():
            worker.stop()


def forward_pass(workers, threads, batch, rounds, seconds, more=""):
    found, passes = {}, {}

    def measure(label):
        # The first call compiles and warms up, and tells how many passes take so long.
        if label not in passes:
            first = workers[label].ask(threads, batch, 2)
            found[label] = first["features"]
            passes[label] = max(2, round(seconds * 1e3 / min(first["ms"])))
        return [ms / batch for ms in workers[label].ask(threads, batch, passes[label])["ms"]]

    contestants = {label: lambda label=label: measure(label) for label in workers}
    rows, left_out = take_turns(contestants, rounds)
    expected = found[f"{OURS} in fp32"]
    for label in rows.keys() & RUNTIMES.keys():
        difference = max(abs(a - b) for a, b in zip(found[label], expected, strict=True)) / max(expected)
        if difference > DIFFERENCE.get(label, DIFFERENCE_BF16):
            left_out[label] = f"its features differ from Pawprint's by {difference:.0e} of the largest one"
    rows = {label: values for label, values in rows.items() if label not in left_out}
    plural = "thread" if threads == 1 else "threads"
    what = f"EfficientNet-Lite0's forward pass, {threads} {plural}, batch {batch}{more}"
    return table(what, "ms/image", "less", rows, left_out)
