"""The engine, and a server in a container of it."""

import http.client
import json
import socket
import struct
import subprocess
import time
import uuid

from .pictures import form, photo

RUN = f"pawprint-test-{uuid.uuid4().hex[:8]}"
TOKEN = uuid.uuid4().hex
USER = 10001
HARDENED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
LIMITED = ["--memory", "4g", "--cpus", "2", "--pids-limit", "512"]
# Long enough to be interrupted in the middle.
JOB = {"epochs": 5, "batch_size": 32, "seed": 7}
PATIENCE = 900


def docker(*arguments, check=True):
    ran = subprocess.run(["docker", *map(str, arguments)], capture_output=True, text=True)
    if check and ran.returncode != 0:
        raise Failed(f"docker {' '.join(map(str, arguments))}: {ran.stderr.strip()}")
    return ran.stdout.strip() if check else ran


class Failed(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failed(what)


def until(condition, what, seconds=60, every=0.2):
    """What `condition` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        expect(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(every)
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A container, and requests to the server in it."""

    def __init__(self, image, data, *options, command=(), inner=8080, user=None, port=None):
        self.name = f"{RUN}-{uuid.uuid4().hex[:6]}"
        self.data = data
        self.port = port or free_port()
        docker(
            "run", "--detach", "--name", self.name, "--label", RUN, *HARDENED,
            "--volume", f"{data}:/data", "--publish", f"127.0.0.1:{self.port}:{inner}",
            "--env", f"PAWPRINT_API_TOKEN={TOKEN}", *(("--user", user) if user else ()),
            "--health-interval", "500ms", *(options or LIMITED), image, *command,
        )  # fmt: skip

    def inspect(self):
        return json.loads(docker("inspect", self.name))[0]

    def health(self):
        return self.inspect()["State"]["Health"]

    def logs(self):
        ran = docker("logs", self.name, check=False)
        return ran.stdout + ran.stderr

    def ready(self, seconds=180):
        def look():
            state = self.inspect()["State"]
            expect(state["Running"], f"the container ended: {self.logs()}")
            return state["Health"]["Status"] == "healthy"

        try:
            until(look, f"{self.name} is healthy", seconds)
        except Failed as failure:
            raise Failed(f"{failure}; {self.health()}; {self.logs()}") from None
        return self

    def ask(self, method, path, body=None, kind="application/json"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def get(self, path):
        status, body = self.ask("GET", path)
        expect(status == 200, f"GET {path}: {status} {body[:500]}")
        return json.loads(body)

    def post(self, path, value):
        status, body = self.ask("POST", path, json.dumps(value))
        expect(status in (201, 202), f"POST {path}: {status} {body[:500]}")
        return json.loads(body)

    def predict(self):
        return self.ask("POST", "/predict", *form(photo("cat-1")))

    def train(self, name, **params):
        body = {"dataset": "shapes", "recipe": "scratch_cnn", "name": name, "params": {**JOB, **params}}
        self.post("/jobs", body)

    def job(self, name):
        return self.get(f"/jobs/{name}")

    def in_the_middle(self, name):
        """Waits until the second epoch is complete."""

        def look():
            job = self.job(name)
            expect(job["status"] in ("queued", "running"), f"it ended too early: {job}")
            return len(self.get(f"/jobs/{name}/metrics")["epochs"]) >= 2

        until(look, f"two epochs of {name}", PATIENCE)

    def ended(self, name):
        def look():
            job = self.job(name)
            return job if job["status"] not in ("queued", "running") else None

        return until(look, f"the end of {name}", PATIENCE, 1)

    def tensors(self, name):
        """The tensors of a model's file (safetensors), without what is said about them."""
        status, file = self.ask("GET", f"/models/{name}/download")
        expect(status == 200, f"model {name}: {status}")
        (length,) = struct.unpack("<Q", file[:8])
        header = json.loads(file[8 : 8 + length])
        header.pop("__metadata__", None)
        data = file[8 + length :]
        return {
            key: (it["dtype"], it["shape"], data[slice(*it["data_offsets"])]) for key, it in header.items()
        }

    def processes(self):
        """State and command of the container's processes."""
        return docker("top", self.name, "-eo", "pid,stat,args").splitlines()[1:]

    def remove(self):
        docker("rm", "--force", self.name)


def volume():
    return docker("volume", "create", "--label", RUN, f"{RUN}-{uuid.uuid4().hex[:6]}")


def say(text):
    print(f"  {text}", flush=True)
