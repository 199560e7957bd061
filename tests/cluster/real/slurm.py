"""A Slurm cluster of one node on this machine, without systemd."""

import os
import secrets
import signal
import subprocess
import time
from pathlib import Path

from .server import Server, expect, kill, trainers, until

NODE = "pawnode"
EPOCHS = 8


class Slurm:
    """The daemons, in the foreground; their commands find them by SLURM_CONF."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.daemons = []
        self.conf = self.folder / "slurm.conf"
        os.environ["SLURM_CONF"] = str(self.conf)
        socket = self.folder / "munge.socket"
        host = os.uname().nodename
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self.conf.write_text(f"""
ClusterName=pawprint
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={socket}
CryptoType=crypto/munge
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
MpiDefault=none
SlurmdTimeout=20
KillWait=5
ReturnToService=2
CommunicationParameters=NoInAddrAny
NodeName={NODE} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=12000 State=UNKNOWN
PartitionName=main Nodes={NODE} Default=YES MaxTime=INFINITE State=UP
""")
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        self.daemon(
            "munged", "--foreground", "--force", f"--socket={socket}", f"--key-file={key}",
            f"--log-file={self.folder}/munge.log", f"--pid-file={self.folder}/munge.pid", f"--seed-file={self.folder}/munge.seed",
        )  # fmt: skip
        until(socket.exists, "munged")
        self.controller = self.daemon("slurmctld", "-D")
        self.daemon("slurmd", "-D", "-N", NODE)
        until(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T"), "an idle node")

    def daemon(self, *command):
        log = open(self.folder / f"{command[0]}.log", "a")
        daemon = subprocess.Popen(command, stdout=log, stderr=log)
        self.daemons.append(daemon)
        return daemon

    def ask(self, *command):
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout

    def remove(self):
        for daemon in reversed(self.daemons):
            daemon.kill()
            daemon.wait()


def check(step, binary, folder, archive):
    server, slurm = Server(binary, folder, {}), None
    try:
        server.start(PAWPRINT_EXECUTOR="local")
        server.upload(archive)
        job = server.ended(server.train(EPOCHS))
        expect(job["status"] == "succeeded", f"the reference job: {job}")
        expected = server.weights(job)
        step("a job on the server itself, as the reference")
        slurm = Slurm(folder)
        server.end()
        server.start(PAWPRINT_EXECUTOR="slurm")
        walk(step, server, slurm, expected)
    finally:
        if server.process and server.process.poll() is None:
            server.end(signal.SIGKILL)
        if slurm:
            slurm.remove()
        for process in trainers("--from"):
            kill(process)


def walk(step, server, slurm, expected):
    jobs = [server.train(EPOCHS) for _ in range(3)]
    states = lambda: sorted((server.job(job)["placement"] or {}).get("state", "") for job in jobs)  # noqa: E731
    until(lambda: states() == ["running", "running", "waiting"], "two jobs at once, one waiting")
    for job in jobs:
        expect(server.succeeded(job, expected)["attempts"] == 1, "one attempt each")
    step("three jobs, of which two run at once")

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
    server.start(PAWPRINT_EXECUTOR="slurm")
    expect(server.succeeded(job, expected)["attempts"] == 1, "the same attempt")
    step("SIGKILL to the server")

    job = server.train(1000)
    server.epoch(job, 1)
    server.ask("POST", f"/jobs/{job}/cancel")
    expect(server.ended(job, 60)["status"] == "cancelled", "cancelled")
    until(lambda: not trainers("--from") and not server.workspaces(), "the end of the trainer")
    until(lambda: not slurm.ask("squeue", "--noheader", "--states=PD,R,CG"), "an empty queue")
    step("a job that is cancelled")
    server.end()
