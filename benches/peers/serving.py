"""`POST /predict` over HTTP with the same network behind each server: throughput and latency by the number
of clients, memory, and the time from the start of a process to its first prediction."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from .measure import turns
from .pawprint import Pawprint
from .setup import FOLDER
from .training import photos

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OURS = "Pawprint"
CLIENTS = (1, 8, 64)
PATIENCE = 120


def peers(processors):
    """Servers: label, runtime, threads of a forward pass (0: the library's choice), command."""
    one, all_of_them = ["--workers", "1"], ["--workers", str(processors)]
    fastapi = ["-m", "uvicorn", "serve_fastapi:app", "--host", "127.0.0.1", "--log-level", "warning", "--port", "{port}"]
    bentoml = ["-m", "bentoml", "serve", "serve_bentoml:Cats", "--host", "127.0.0.1", "--port", "{port}"]
    litserve = ["serve_litserve.py", "{port}"]
    many = f"{processors} workers of 1 thread"
    for runtime, name in (("onnxruntime", "ONNX Runtime"), ("torch", "PyTorch")):
        yield f"FastAPI + {name}, 1 worker", runtime, 0, [*fastapi, *one]
        yield f"FastAPI + {name}, {many}", runtime, 1, [*fastapi, *all_of_them]
        yield f"LitServe + {name}, {many}, batches", runtime, 1, [*litserve, str(processors)]
        yield f"BentoML + {name}, {many}", runtime, 1, bentoml


class Peer:
    """A server of a peer on a port of its own, until the block ends."""

    def __init__(self, python, contestant, environment):
        _, runtime, threads, command = contestant
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.command = [python, *(part.format(port=self.port) for part in command)]
        workers = str(len(os.sched_getaffinity(0)) if threads == 1 else 1)
        self.environment = os.environ | environment | {"RUNTIME": runtime, "THREADS": str(threads), "WORKERS": workers}

    def __enter__(self):
        log = open(FOLDER / "peer.log", "w")
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


def first_prediction(server, photo):
    """Waits for the first prediction; returns it."""
    deadline = time.monotonic() + PATIENCE
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    form = head + photo + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    request = urllib.request.Request(server.url + "/predict", form, headers)
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)
        except (urllib.error.URLError, OSError):
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no prediction: {(FOLDER / 'peer.log').read_text()[-2000:]}") from None
            time.sleep(0.02)


def memory(pid):
    """Proportional memory of a process and of those it has started, in MB."""
    total, waiting = 0, [pid]
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        try:
            lines = (process / "smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            for thread in (process / "task").iterdir():
                waiting += (thread / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total / 1e3


def load_program():
    """The executable of `cargo bench --bench load`."""
    cargo = [os.environ.get("CARGO", "cargo"), "bench", "--locked", "--bench", "load", "--no-run"]
    messages = subprocess.run([*cargo, "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    for message in map(json.loads, messages.splitlines()):
        if message.get("target", {}).get("name") == "load" and message.get("executable"):
            return message["executable"]
    sys.exit("bench: cargo built no load test")


def run(args):
    seconds, rounds = (4, args.rounds or 2) if args.short else (20, args.rounds or 5)
    folder = photos(args.data, 100, FOLDER / "photos")
    photo = next((folder / "test/cat").iterdir()).read_bytes()
    load = load_program()
    contestants = [(OURS, None, None, None), *peers(len(os.sched_getaffinity(0)))]
    measured, left_out = {label: {} for label, *_ in contestants}, {}
    with Pawprint(args.program, FOLDER / "server") as ours:
        ours.cli("import", folder, "--dataset", "photos")
        ours.train("scratch_cnn", "photos", "small", epochs=1)
        ours.cli("models", "use", "small")
        expected = first_prediction(ours, photo)["predictions"][0]
        environment = network_of(ours, args.pythons["torch"])
        for contestant in turns(contestants, rounds):
            label = contestant[0]
            if label in left_out:
                continue
            started = time.monotonic()
            if label == OURS:
                ours.stop()
                started = time.monotonic()
                ours.start()
                one_round(ours, photo, started, load, folder, seconds, measured[label])
                continue
            try:
                with Peer(args.pythons["torch"], contestant, environment) as peer:
                    answer = one_round(peer, photo, started, load, folder, seconds, measured[label])
                close = abs(answer["probability"] - expected["probability"]) < 0.02
                if answer["label"] != expected["label"] or not close:
                    raise RuntimeError(f"{answer}, but Pawprint predicts {expected}")
            except (RuntimeError, subprocess.CalledProcessError) as error:
                left_out[label] = str(error)
                print(f"bench: left out: {label}: {error}", file=sys.stderr)
    yield from tables(measured, left_out)


def network_of(ours, python):
    """The environment in which the peers find the network of the model `small`."""
    model, onnx = FOLDER / "small.safetensors", FOLDER / "small.onnx"
    ours.model_file("small", model)
    export = "import sys, networks; networks.export(sys.argv[1], sys.argv[2])"
    subprocess.run([python, "-c", export, model, onnx], cwd=HERE, check=True)
    return {"MODEL": str(model), "ONNX": str(onnx)}


def one_round(server, photo, started, load, folder, seconds, into):
    answer = first_prediction(server, photo)
    into.setdefault("cold", []).append(time.monotonic() - started)
    out = subprocess.run(
        [load, server.url, folder, "--closed-json", "--form", "--seconds", str(seconds)],
        stdout=subprocess.PIPE, check=True, text=True,
    ).stdout  # fmt: skip
    for line in map(json.loads, filter(lambda line: line.startswith("{"), out.splitlines())):
        if line["failed"]:
            raise RuntimeError(f"{line['failed']} of the requests failed with {line['clients']} clients")
        for key in ("throughput", "p50", "p99"):
            into.setdefault((key, line["clients"]), []).append(line[key])
    into.setdefault("memory", []).append(memory(server.process.pid))
    return answer


def tables(measured, left_out):
    def table(title, key, unit, better):
        rows = {label: values[key] for label, values in measured.items() if values.get(key) and label not in left_out}
        return {
            "title": title, "unit": unit, "better": better, "reference": OURS, "rows": rows, "left_out": left_out
        }  # fmt: skip

    for clients in CLIENTS:
        plural = "client" if clients == 1 else "clients"
        yield table(f"/predict with {clients} {plural}: throughput", ("throughput", clients), "predictions/s", "more")
        yield table(f"/predict with {clients} {plural}: median latency", ("p50", clients), "ms", "less")
        yield table(f"/predict with {clients} {plural}: p99 latency", ("p99", clients), "ms", "less")
    yield table("Memory after the load", "memory", "MB", "less")
    yield table("From the start of the process to its first prediction", "cold", "s", "less")
