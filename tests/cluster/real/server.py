"""A Pawprint server, and requests to it."""

import json
import os
import signal
import struct
import subprocess
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

ADDRESS = "127.0.0.1:18080"
OVER = {"succeeded", "failed", "cancelled", "interrupted"}


class Failed(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failed(what)


def until(condition, what, seconds=120, every=0.2):
    """What `condition` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        expect(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(every)
    return found


class Server:
    """One data directory, and the server on it, which may be started again."""

    def __init__(self, binary, folder, settings):
        self.binary, self.folder, self.process = binary, Path(folder), None
        self.settings = {
            "PAWPRINT_LISTEN": ADDRESS,
            "PAWPRINT_DATA_DIR": str(self.folder / "data"),
            "PAWPRINT_TRAINER_THREADS": "1",
            "PAWPRINT_MAX_RUNNING_JOBS": "3",
            "PAWPRINT_CLUSTER_SERVER": f"http://{ADDRESS}",
            "PAWPRINT_CLUSTER_CACHE": str(self.folder / "node"),
            **settings,
        }

    def start(self, **settings):
        log = open(self.folder / "server.log", "a")
        self.process = subprocess.Popen(
            [self.binary, "serve"], env={**os.environ, **self.settings, **settings}, stderr=log, stdout=subprocess.PIPE
        )
        line = self.process.stdout.readline()
        expect(line.startswith(b"listening"), f"the server does not start; see {log.name}")

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(60)

    def ask(self, method, path, body=None, raw=False):
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/octet-stream" if isinstance(body, bytes) else "application/json"}
        request = urllib.request.Request(f"http://{ADDRESS}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                answer = response.read()
        except urllib.error.HTTPError as error:
            raise Failed(f"{method} {path}: {error.read().decode()}") from error
        return answer if raw else json.loads(answer) if answer else None

    def job(self, job):
        return self.ask("GET", f"/jobs/{job}")

    def train(self, epochs, dataset="pets"):
        params = {"epochs": epochs, "batch_size": 4, "precision": "fp32", "device": "cpu", "seed": 7}
        body = {"recipe": "scratch_cnn", "dataset": dataset, "params": params}
        return self.ask("POST", "/jobs", body)["id"]

    def epoch(self, job, number, seconds=240):
        """Waits until that epoch of the job is complete."""
        done = lambda: len(self.ask("GET", f"/jobs/{job}/metrics")["epochs"]) >= number  # noqa: E731
        until(done, f"epoch {number} of {self.job(job)}", seconds)

    def ended(self, job, seconds=600):
        until(lambda: self.job(job)["status"] in OVER, f"the end of {job}", seconds)
        return self.job(job)

    def succeeded(self, job, expected, seconds=600):
        """The job, whose weights are as expected."""
        job = self.ended(job, seconds)
        expect(job["status"] == "succeeded", f"the job did not succeed: {job}")
        expect(self.weights(job) == expected, "the weights differ from those of an undisturbed job")
        epochs = [epoch["epoch"] for epoch in self.ask("GET", f"/jobs/{job['id']}/metrics")["epochs"]]
        expect(epochs == list(range(1, job["params"]["epochs"] + 1)), f"epochs {epochs}")
        return job

    def weights(self, job):
        """The tensors of its model: the file without its header, which names the job."""
        file = self.ask("GET", f"/models/{job['model_id']}/download", raw=True)
        (header,) = struct.unpack("<Q", file[:8])
        tensors = json.loads(file[8 : 8 + header])
        tensors.pop("__metadata__")
        start = 8 + header
        return {
            name: file[start + tensor["data_offsets"][0] : start + tensor["data_offsets"][1]]
            for name, tensor in tensors.items()
        }

    def upload(self, archive):
        self.ask("POST", "/datasets", {"name": "pets"})
        return self.ask("POST", "/datasets/pets/archive", archive)

    def workspaces(self):
        """Jobs in progress that trainers have folders for."""
        attempts = self.folder / "node" / "attempts"
        return list(attempts.iterdir()) if attempts.exists() else []


def trainers(word="trainer"):
    """Processes of trainers on this machine, by their ids."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if process.name.isdigit() and b"trainer" in command and any(word.encode() in part for part in command):
            found.append(int(process.name))
    return found


def kill(process):
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        pass


def png(pixels, side):
    """A grey picture of `side` × `side` bytes."""
    rows = b"".join(b"\0" + bytes(pixels[row * side : (row + 1) * side]) for row in range(side))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))  # noqa: E731
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
