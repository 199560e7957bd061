"""`POST /predict` over HTTP with the same network behind each server: throughput and latency by the number
of clients, memory, the time from the start of a process to its first prediction, and size on disk."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from .measure import HERE, OURS, fast_type, processors, script, table, take_turns
from .pawprint import Pawprint
from .setup import FOLDER, ROOT, benchmark, photos

CLIENTS = (1, 8, 64)
PATIENCE = 600

UVICORN = ["-m", "uvicorn", "serve_fastapi:app", "--host", "127.0.0.1", "--port", "{port}", "--workers", "{workers}"]
# Otherwise it kills workers that compile for more than five seconds.
FASTAPI = [*UVICORN, "--log-level", "warning", "--timeout-worker-healthcheck", str(PATIENCE)]
BENTOML = ["-m", "bentoml", "serve", "serve_bentoml:Cats", "--host", "127.0.0.1", "--port", "{port}"]
LITSERVE = ["serve_litserve.py", "{port}", "{workers}"]
TORCHSERVE = ["serve_torchserve.py", "{port}", "{workers}", str(FOLDER / "torchserve")]
# What a runtime imports, unless it is its name.
MODULES = {"eager": "torch", "compiled": "torch"}
# Packages of an installation.
WEB = ["fastapi", "uvicorn", "python-multipart", "pillow", "numpy"]


def peers():
    """Servers: label → runtime, workers, command, packages. A single worker has as many threads for a
    forward pass as the library likes; each of several has one."""
    many = processors()
    each = f"{many} workers of 1 thread"
    return {
        "FastAPI + ONNX Runtime, 1 worker": ("onnxruntime", 1, FASTAPI, [*WEB, "onnxruntime"]),
        f"FastAPI + ONNX Runtime, {each}": ("onnxruntime", many, FASTAPI, []),
        "FastAPI + OpenVINO, 1 worker": ("openvino", 1, FASTAPI, [*WEB, "openvino"]),
        f"FastAPI + OpenVINO, {each}": ("openvino", many, FASTAPI, []),
        "FastAPI + PyTorch, eager fp32, 1 worker": ("eager", 1, FASTAPI, [*WEB, "torch"]),
        f"FastAPI + PyTorch, compiled, {fast_type()}, {each}": ("compiled", many, FASTAPI, []),
        f"LitServe + ONNX Runtime, {each}, batches": (
            "onnxruntime", many, LITSERVE, ["litserve", "onnxruntime", "pillow"]
        ),
        f"BentoML + ONNX Runtime, {each}": ("onnxruntime", many, BENTOML, ["bentoml", "onnxruntime", "pillow"]),
        f"TorchServe, compiled, {fast_type()}, {each}, batches": (
            "compiled", many, TORCHSERVE, ["torchserve", "torch", "pillow", "numpy"]
        ),
    }  # fmt: skip


class Peer:
    """A server of a peer on a port of its own, until the block ends."""

    def __init__(self, python, runtime, workers, command, environment):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        if command is TORCHSERVE:
            self.url += "/predictions"
        self.command = [python, *(part.format(port=port, workers=workers) for part in command)]
        threads = "1" if workers > 1 else "0"
        settings = {"RUNTIME": runtime, "THREADS": threads, "WORKERS": str(workers)}
        settings["LARGEST_BATCH"] = "8" if command in (LITSERVE, TORCHSERVE) else "1"
        self.environment = os.environ | environment | settings
        self.output = FOLDER / "peer.log"

    def __enter__(self):
        with open(self.output, "w") as log:
            self.process = subprocess.Popen(
                self.command, cwd=HERE, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def __exit__(self, *_):
        for kind in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, kind)
                self.process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass

    def log(self):
        return self.output.read_text()[-2000:]


def first_prediction(server, photo, query=""):
    """Waits for the first prediction; returns it."""
    deadline = time.monotonic() + PATIENCE
    head = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    form = head + photo + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    request = urllib.request.Request(f"{server.url}/predict{query}", form, headers)
    while True:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return json.load(response)
        except (urllib.error.URLError, OSError):
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no prediction: {server.log()}") from None
            time.sleep(0.02)


def total(pid, measure):
    """The sum of a measure of a process's folder in /proc, over the process and those it has started."""
    found, waiting = 0, [pid]
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        try:
            found += measure(process)
            for thread in (process / "task").iterdir():
                waiting += (thread / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def memory(pid):
    """Proportional memory of a process and of those it has started, in MB."""

    def pss(process):
        lines = (process / "smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))

    return total(pid, pss) / 1e3


def settle(pid):
    """Waits until a server has nothing left to do after its start: other workers compile, engines are measured.
    Until a second takes less than a fifth of a processor, or for a minute."""

    def ticks(process):
        return sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:13]))

    for _ in range(60):
        before = total(pid, ticks)
        time.sleep(1)
        if total(pid, ticks) - before < os.sysconf("SC_CLK_TCK") / 5:
            return


def run(args):
    seconds, rounds = (2, args.rounds or 1) if args.short else (10, args.rounds or 5)
    folder = photos(args.data, 100, 50, 50)
    yield from contest(args, folder, peers(), seconds, rounds, "/predict")
    if not args.python:
        yield sizes(args)


def contest(args, folder, servers, seconds, rounds, what):
    """The tables of servers on a folder of photos: `servers` as `peers` returns them."""
    load, python = benchmark("load"), args.pythons["torch"]
    # Sorted: the same photo for all.
    photo = min(path for path in folder.rglob("*.jpg")).read_bytes()
    trained_on = photos(args.data, 100, 50, 50)
    measured = {}
    with Pawprint(args.program, FOLDER / "server") as server:
        server.cli("import", trained_on, "--dataset", "photos")
        server.train("scratch_cnn", "photos", "small", epochs=2)
        server.cli("models", "use", "small")
        expected = first_prediction(server, photo)["predictions"][0]
        environment = network_of(server, python)

        def ours():
            server.stop()
            started = time.monotonic()
            server.start()
            return [one_round(server, photo, started, load, folder, seconds)[1]]

        def theirs(runtime, workers, command, _, more=None):
            check_runtime(python, runtime)
            started = time.monotonic()
            with Peer(python, runtime, workers, command, environment | (more or {})) as peer:
                answer, result = one_round(peer, photo, started, load, folder, seconds)
            if answer["label"] != expected["label"] or abs(answer["probability"] - expected["probability"]) > 0.02:
                raise RuntimeError(f"{answer}, but Pawprint predicts {expected}")
            return [result]

        contestants = {OURS: ours} | {label: lambda at=at: theirs(*at) for label, at in servers.items()}
        measured, left_out = take_turns(contestants, rounds)
    yield from tables(measured, left_out, what)


def check_runtime(python, runtime):
    """Raises an error if a runtime isn't installed: uvicorn would start workers without it again and again."""
    module = MODULES.get(runtime, runtime)
    find = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    if subprocess.run([python, "-c", find]).returncode:
        raise RuntimeError(f"no module named {module}")


def network_of(server, python):
    """The environment in which the peers find the network of the model `small`."""
    model, onnx = FOLDER / "small.safetensors", FOLDER / "small.onnx"
    server.model_file("small", model)
    environment = {"MODEL": str(model), "ONNX": str(onnx)}
    export = [python, "-c", "import networks; networks.export_small()"]
    subprocess.run(export, cwd=HERE, env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)
    return environment


def one_round(server, photo, started, load, folder, seconds):
    """The first prediction, and what was measured: `memory`, `cold`, and a key for each measure and number of
    clients."""
    answer = first_prediction(server, photo)
    result = {"cold": time.monotonic() - started}
    settle(server.process.pid)
    out = subprocess.run(
        [load, server.url, folder, "--closed-json", "--form", "--seconds", str(seconds)],
        stdout=subprocess.PIPE, check=True, text=True,
    ).stdout  # fmt: skip
    for line in map(json.loads, filter(lambda line: line.startswith("{"), out.splitlines())):
        if line["failed"] or line["rejected"]:
            raise RuntimeError(f"requests failed: {line}")
        result |= {(key, line["clients"]): line[key] for key in ("throughput", "p50", "p99")}
    return answer, result | {"memory": memory(server.process.pid)}


def tables(measured, left_out, what):
    def of(title, key, unit, better):
        rows = {label: [result[key] for result in results] for label, results in measured.items()}
        return table(title, unit, better, rows, left_out)

    for clients in CLIENTS:
        plural = "client" if clients == 1 else "clients"
        yield of(f"{what} with {clients} {plural}: throughput", ("throughput", clients), "predictions/s", "more")
        yield of(f"{what} with {clients} {plural}: median latency", ("p50", clients), "ms", "less")
        yield of(f"{what} with {clients} {plural}: p99 latency", ("p99", clients), "ms", "less")
    yield of(f"{what}: memory after the load", "memory", "MB", "less")
    yield of(f"{what}: from the start of the process to its first prediction", "cold", "s", "less")


def sizes(args):
    """The install tree beside the packages that each server needs."""
    tree = FOLDER / "dist"
    subprocess.run([ROOT / "scripts/dist", args.program, tree], check=True, stdout=subprocess.DEVNULL)
    # The debug information is for whoever reads backtraces: it is in no image or package.
    files = [path for path in tree.rglob("*") if path.is_file() and "debug" not in path.relative_to(tree).parts]
    rows = {OURS: [sum(path.stat().st_size for path in files) / 1e6]}
    for label, (*_, packages) in peers().items():
        if packages:
            name = ", ".join(label.split(",")[:1])
            rows[name] = [script(args.pythons["torch"], "size_on_disk.py", *packages)[0]["bytes"] / 1e6]
    notes = ["Without Python itself (some 50 MB) and Java; PyTorch without its CUDA libraries, which come with it."]
    return table("Size of an installation on disk", "MB", "less", rows, notes=notes)
