"""A Pawprint server of the benchmark's own, and requests to it."""

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path


class Pawprint:
    """Runs `program` on an empty data directory until the block ends."""

    def __init__(self, program, folder, *options):
        self.program, self.folder, self.options = program, Path(folder), options

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        """Starts it again on the same data directory, on another port."""
        command = [self.program, "serve", "--listen", "127.0.0.1:0", "--data-dir", self.folder, *self.options]
        log = open(f"{self.folder}.log", "w")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.url = self.process.stdout.readline().removeprefix("listening on ").strip()

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def cli(self, *arguments):
        environment = os.environ | {"PAWPRINT_SERVER": self.url}
        subprocess.run([self.program, *map(str, arguments)], env=environment, check=True, stdout=subprocess.DEVNULL)

    def get(self, path):
        with urllib.request.urlopen(self.url + path) as response:
            body = response.read().decode()
        return json.loads(body) if response.headers["content-type"].startswith("application/json") else body

    def train(self, recipe, dataset, name, **options):
        """Trains a job to its end, and returns it."""
        flags = [it for key, value in options.items() for it in (f"--{key.replace('_', '-')}", value)]
        self.cli("train", "--dataset", dataset, "--recipe", recipe, "--name", name, *flags, "--follow")
        return self.get(f"/jobs/{name}")

    def epochs(self, name):
        return [epoch["seconds"] for epoch in self.get(f"/jobs/{name}/metrics")["epochs"]]

    def features(self, name):
        """Images, and seconds from the start of a job to their features: decoding included."""
        log = self.get(f"/jobs/{name}/log")
        ready = re.search(r"^(\S+).* features ready computed=(\d+)", log, re.MULTILINE)
        started = datetime.fromisoformat(self.get(f"/jobs/{name}")["started_at"])
        return int(ready[2]), (datetime.fromisoformat(ready[1]) - started).total_seconds()

    def model_file(self, name, to):
        with urllib.request.urlopen(f"{self.url}/models/{name}/download") as response:
            Path(to).write_bytes(response.read())
