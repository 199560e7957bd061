"""A Ray cluster of two nodes on this machine, and what may happen to it."""

import os
import secrets
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

from .server import Server, expect, kill, trainers, until

HEAD = "127.0.0.1:6379"
DASHBOARD = "http://127.0.0.1:8265"
EPOCHS = 8


class Ray:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, Path(folder)
        # The paths of its sockets are short.
        self.temporary = Path("/tmp") / f"ray-{os.getpid()}"
        self.token = self.folder / "ray-token"
        self.token.write_text(secrets.token_hex(16))
        self.token.chmod(0o600)
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "PYTHONWARNINGS": "ignore",
        }

    def run(self, *arguments):
        ran = subprocess.run(
            [self.binary, "start", *arguments], env=self.environment, capture_output=True, text=True, timeout=180
        )
        expect(ran.returncode == 0, f"ray start: {ran.stdout} {ran.stderr}")

    def head(self):
        self.run(
            "--head", "--node-ip-address=127.0.0.1", "--port=6379", "--dashboard-host=127.0.0.1", "--dashboard-port=8265",
            "--include-dashboard=true", "--num-cpus=2", "--num-gpus=0", "--memory=8000000000",
            "--object-store-memory=100000000", "--disable-usage-stats", f"--temp-dir={self.temporary}",
        )  # fmt: skip
        until(self.answers, "Ray's dashboard")

    def node(self):
        """A second node with one CPU."""
        before = self.raylets()
        self.run(
            f"--address={HEAD}", "--dashboard-agent-listen-port=52366", "--num-cpus=1", "--num-gpus=0", "--memory=4000000000",
            "--object-store-memory=100000000", "--disable-usage-stats",
        )  # fmt: skip
        return until(lambda: self.raylets() - before, "the second node").pop()

    def answers(self):
        request = urllib.request.Request(
            f"{DASHBOARD}/api/jobs/", headers={"Authorization": f"Bearer {self.token.read_text()}"}
        )
        try:
            return urllib.request.urlopen(request, timeout=5).status == 200
        except OSError:
            return False

    def processes(self, *words):
        """Ids of Ray's processes, those of jobs left out."""
        found = set()
        for process in Path("/proc").iterdir():
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if process.name.isdigit() and str(self.temporary) in command and all(word in command for word in words):
                found.add(int(process.name))
        return found

    def raylets(self):
        return self.processes("raylet/raylet")

    def kill(self):
        """Everything of it, and nothing of anybody else's."""
        while found := self.processes() - {os.getpid()}:
            for process in found:
                kill(process)
            time.sleep(0.2)

    def remove(self):
        self.kill()
        shutil.rmtree(self.temporary, ignore_errors=True)


def check(step, binary, ray_binary, folder, archive):
    ray = Ray(ray_binary, folder)
    settings = {"PAWPRINT_RAY_ADDRESS": DASHBOARD, "PAWPRINT_RAY_TOKEN_FILE": str(ray.token)}
    server = Server(binary, folder, settings)
    try:
        walk(step, server, ray, archive)
    finally:
        if server.process and server.process.poll() is None:
            server.end(signal.SIGKILL)
        ray.remove()
        for process in trainers("--from"):
            kill(process)


def walk(step, server, ray, archive):
    server.start(PAWPRINT_EXECUTOR="local")
    server.upload(archive)
    job = server.ended(server.train(EPOCHS))
    expect(job["status"] == "succeeded" and job["placement"] is None, f"the reference job: {job}")
    expected = server.weights(job)
    step("a job on the server itself, as the reference")

    server.end()
    server.start(PAWPRINT_EXECUTOR="ray")
    job = server.train(EPOCHS)
    until(lambda: (server.job(job)["placement"] or {}).get("message"), "a message about the head")
    message = server.job(job)["placement"]["message"]
    expect("can't reach Ray" in message, message)
    ray.head()
    second = ray.node()
    server.succeeded(job, expected)
    step("a job that was queued while the head was down")

    jobs = [server.train(EPOCHS) for _ in range(3)]
    running = lambda: all((server.job(job)["placement"] or {}).get("state") == "running" for job in jobs)  # noqa: E731
    until(running, "three jobs at once")
    for job in jobs:
        expect(server.succeeded(job, expected)["attempts"] == 1, "one attempt each")
    step("three jobs at once on two nodes")

    job = server.train(EPOCHS)
    server.epoch(job, 3)
    for process in trainers(job):
        kill(process)
    expect(server.succeeded(job, expected)["attempts"] == 2, "a second attempt")
    step("SIGKILL to a trainer")

    job = server.train(EPOCHS)
    server.epoch(job, 3)
    server.end(signal.SIGKILL)
    time.sleep(3)
    server.start(PAWPRINT_EXECUTOR="ray")
    expect(server.succeeded(job, expected)["attempts"] == 1, "the same attempt")
    step("SIGKILL to the server")

    # One of three is on the second node.
    jobs = [server.train(EPOCHS) for _ in range(3)]
    for job in jobs:
        server.epoch(job, 2)
    kill(second)
    attempts = [server.succeeded(job, expected)["attempts"] for job in jobs]
    expect(sorted(attempts) == [1, 1, 2], f"attempts {attempts}")
    step("SIGKILL to a node's raylet")

    job = server.train(1000)
    server.epoch(job, 1)
    server.ask("POST", f"/jobs/{job}/cancel")
    expect(server.ended(job, 60)["status"] == "cancelled", "cancelled")
    until(lambda: not trainers("--from"), "the end of the trainer")
    step("a job that is cancelled")

    job = server.train(30)
    server.epoch(job, 3)
    ray.kill()
    until(lambda: not trainers("--from"), "the end of the trainer, which dies with Ray")
    ray.head()
    job = server.ended(job)
    expect(job["status"] == "succeeded" and job["attempts"] == 2, f"a second attempt: {job}")
    step("SIGKILL to the head and all of its node")

    until(lambda: not trainers("--from") and not server.workspaces(), "the end of all trainers")
    server.end()
    step("nothing is left behind")
