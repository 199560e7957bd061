"""Jobs that go on in another container, and one that needs more memory than there is."""

import json
import time

from .container import PATIENCE, Server, docker, expect, say, until
from .pictures import archive


def check_training(image, data):
    """A kill and a stop in the middle of jobs: the next container ends them with the same weights."""
    server = Server(image, data).ready()
    server.post("/datasets", {"name": "shapes"})
    status, body = server.ask("POST", "/datasets/shapes/archive", archive(100), "application/zip")
    expect(status == 200 and json.loads(body)["added"] == 200, body[:500])
    say("a dataset of 200 images uploaded")
    server.train("whole")
    expect(server.ended("whole")["status"] == "succeeded", server.job("whole"))
    say("a job without interruption: succeeded")

    server.train("killed")
    server.in_the_middle("killed")
    docker("kill", server.name)
    server.remove()
    server = Server(image, data).ready()
    job = server.ended("killed")
    expect(job["status"] == "succeeded" and job["attempts"] == 2, job)
    same(server, "whole", "killed")
    say("docker kill in the middle of a job: the next container ended it, with the same weights")

    server.train("stopped")
    server.in_the_middle("stopped")
    began = time.monotonic()
    docker("stop", server.name)
    took = time.monotonic() - began
    state = server.inspect()["State"]
    expect(took < 10 and state["ExitCode"] == 0, f"{took:.1f} s, exit code {state['ExitCode']}")
    server.remove()
    server = Server(image, data).ready()
    job = server.ended("stopped")
    expect(job["status"] == "succeeded", job)
    same(server, "whole", "stopped")
    say(f"docker stop in the middle of a job took {took:.1f} s: the next container ended it, with the same weights")

    written = docker("diff", server.name)
    expect(not written, f"written beside /data and /tmp: {written}")
    no_zombies(server)
    server.remove()


def same(server, one, other):
    expected, found = server.tensors(one), server.tensors(other)
    expect(len(expected) > 4, f"{one} has {len(expected)} tensors")
    for name in expected.keys() | found.keys():
        expect(expected.get(name) == found.get(name), f"tensor {name} of {other} differs from that of {one}")


def no_zombies(server):
    for process in server.processes():
        expect(not process.split()[1].startswith("Z"), f"a zombie: {process}")


def check_memory(image, data):
    """A trainer that runs out of the container's memory costs its job, not the server."""
    server = Server(image, data, "--memory", "700m", "--memory-swap", "700m", "--cpus", "2").ready()
    before = server.inspect()["State"]["StartedAt"]
    server.train("large", batch_size=256)
    answered = 0

    def over():
        nonlocal answered
        expect(server.predict()[0] == 200, "a prediction failed meanwhile")
        answered += 1
        return server.job("large")["status"] not in ("queued", "running")

    until(over, "the end of the job that takes too much", PATIENCE, 0.5)
    job = server.job("large")
    expect(job["status"] in ("interrupted", "failed"), job)
    state = server.inspect()["State"]
    expect(state["Running"] and state["StartedAt"] == before, f"the server did not survive: {state}")
    server.ready()
    no_zombies(server)
    server.remove()
    error = job["error"]
    return f"--memory 700m: the job is {job['status']} ({error['code']}); {answered} predictions meanwhile; no zombies"
