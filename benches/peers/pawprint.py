"""A Pawprint server of the benchmark's own, and requests to it."""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from datetime import datetime
from pathlib import Path


class Pawprint:
    """Runs `program` on an empty data directory until the block ends."""

    def __init__(self, program, folder):
        self.program, self.folder = program, Path(folder)

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        """Starts it, also again on the same data directory, on another port."""
        command = [self.program, "serve", "--listen", "127.0.0.1:0", "--data-dir", self.folder]
        with open(f"{self.folder}.log", "w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.url = self.process.stdout.readline().removeprefix("listening on ").strip()
        if not self.url:
            raise RuntimeError(f"Pawprint did not start: {self.log()}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def log(self):
        """The end of what it logged."""
        return Path(f"{self.folder}.log").read_text()[-2000:]

    def cli(self, *arguments):
        environment = os.environ | {"PAWPRINT_SERVER": self.url}
        command = [self.program, *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(
                f"pawprint {' '.join(map(str, arguments))}: {done.stderr.strip() or done.stdout[-1000:]}"
            )

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=600) as response:
            body = response.read().decode()
        return json.loads(body) if response.headers["content-type"].startswith("application/json") else body

    def train(self, recipe, dataset, name, **options):
        """Trains a job to its end."""
        flags = [it for key, value in options.items() for it in (f"--{key.replace('_', '-')}", value)]
        self.cli("train", "--dataset", dataset, "--recipe", recipe, "--name", name, *flags, "--follow")

    def epochs(self, name):
        """Seconds of each epoch of a job."""
        return [epoch["seconds"] for epoch in self.get(f"/jobs/{name}/metrics")["epochs"]]

    def features(self, name):
        """Images, and seconds from the start of a job to their features: decoding included."""
        ready = re.search(r"^(\S+).* features ready computed=(\d+)", self.get(f"/jobs/{name}/log"), re.MULTILINE)
        started = datetime.fromisoformat(self.get(f"/jobs/{name}")["started_at"])
        return int(ready[2]), (datetime.fromisoformat(ready[1]) - started).total_seconds()

    def model_file(self, name, to):
        with urllib.request.urlopen(f"{self.url}/models/{name}/download") as response:
            Path(to).write_bytes(response.read())
