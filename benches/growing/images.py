"""A dataset that grows: importing, listing, counting, training."""

import json
import subprocess
import time
from pathlib import Path

from peers.pawprint import Pawprint
from peers.setup import FOLDER

from .measure import Client, Peak, Table, memory, size_of

PHOTOS = Path(__file__).parent / "photos.py"
# A trainer keeps each decoded image: more of them fill the disk.
MAX_DECODED = 20_000
# Seconds that a job may take: longer ones are left out.
MAX_SECONDS = 300


def run(args):
    steps = [1_000, 5_000] if args.short else [1_000, 5_000, 20_000, 100_000]
    costs = Table("Images: import, training, memory, disk", "images")
    requests = Table("Images: requests, CPU ms of the server (p50 / p95 ms at the client)", "images")
    with Pawprint(args.program, FOLDER / "growth") as server:
        Client(server).post("/datasets", {"name": "photos"})
        rates, before = {}, 0
        for size in steps:
            for table in (costs, requests):
                table.sizes.append(size)
            archive = make(args, before, size - before)
            load(server, costs, archive, size - before)
            archive.unlink()
            server.stop()
            start(server, costs)
            client = Client(server)
            ask(client, requests, size)
            costs.add("server's memory after the requests", "flat", (mb := memory(client.pid)), f"{mb:.0f} MB")
            database = size_of(*(server.folder / f"pawprint.sqlite{end}" for end in ("", "-wal")))
            costs.add("database, by image", "flat", database / size, f"{database / size:.0f} bytes")
            for recipe in ("scratch_cnn", "efficientnet_lite0_features"):
                train(server, costs, recipe, size, rates)
            before = size
        remove(server, costs)
    return [costs, requests]


def make(args, first, count):
    """An archive of so many photos."""
    archive = FOLDER / "growth.tar"
    subprocess.run([args.python, PHOTOS, args.data, archive, str(first), str(count)], check=True)
    return archive


def load(server, table, archive, count):
    """One archive, which adds `count` images."""
    client = Client(server)
    with Peak(client.pid) as peak, archive.open("rb") as body:
        cpu, started = client.cpu(), time.perf_counter()
        report = json.loads(client.send("POST", "/datasets/photos/archive", body))
        seconds, cpu = time.perf_counter() - started, client.cpu() - cpu
    if report["added"] != count:
        raise SystemExit(f"growth: {report['added']} of {count} images were added: {report['rejected'][:3]}")
    cpu = cpu * 1e6 / count
    table.add("import, by image", "flat", cpu, f"{cpu:.0f} µs CPU, {count / seconds:.0f} images/s")
    table.add("server's memory at most, importing", "flat", peak.server, f"{peak.server:.0f} MB")


def start(server, table):
    """Starts a server until it is ready, and then until it has cleaned up."""
    started = time.perf_counter()
    server.start()
    client = Client(server)
    client.send("GET", "/readyz")
    cpu, seconds = client.cpu(), time.perf_counter() - started
    table.add("start of the server until it is ready", "flat", cpu, f"{cpu:.2f} s CPU, {seconds:.2f} s")
    client.rest()
    cpu = client.cpu() - cpu
    table.add("cleaning up after the start", "", cpu, f"{cpu:.2f} s CPU")


def ask(client, table, size):
    path = "/datasets/photos"
    ids = [image["id"] for page in client.pages(f"{path}/images") for image in page]
    if len(set(ids)) != size:
        raise SystemExit(f"growth: {len(set(ids))} of {size} images are listed")

    def get(label, path):
        table.add(label, "flat", client.cost(lambda: client.send("GET", path)))

    get("images, first page", f"{path}/images?limit=50")
    get("images, last page", f"{path}/images?limit=50&cursor={ids[-51]}")
    get("images of a split, first page", f"{path}/images?limit=50&split=test")
    get("images of a class of 20, first page", f"{path}/images?limit=50&label=rare")
    get("images of a split and a class, first page", f"{path}/images?limit=10&split=validation&label=dog")
    table.add("images, all pages of 500", "linear", client.cost(lambda: list(client.pages(f"{path}/images")), 1))
    get("thumbnail", f"/images/{ids[-1]}/thumbnail")
    get("original", f"/images/{ids[-1]}")
    get("datasets", "/datasets")
    get("dataset", path)
    get("statistics", f"{path}/statistics")
    get("chart of the widths", f"{path}/charts/width.svg")
    get("augmentations", f"{path}/augmentations?count=1")
    get("recipes, with estimates", "/recipes?dataset=photos")
    get("metrics", "/metrics")
    splits = iter(["train", "test"] * 100)

    def change():
        body = json.dumps({"split": next(splits)})
        client.send("PATCH", f"{path}/images/{ids[0]}", body, {"Content-Type": "application/json"})

    def first(path):
        """The first request after a change."""
        change()
        client.send("GET", path)

    table.add("change of an image", "flat", client.cost(change))
    table.add("dataset, after a change", "linear", client.cost(lambda: first(path), 10))
    table.add("statistics, after a change", "linear", client.cost(lambda: first(f"{path}/statistics"), 10))
    table.add("splits anew (nothing to move)", "linear", client.cost(lambda: client.send("POST", f"{path}/split"), 5))
    table.add("new job (a manifest), cancelled and deleted", "linear", client.cost(lambda: snapshot(client), 5))


def snapshot(client):
    """A job behind none: its trainer is told to end as it starts."""
    new = {"dataset": "photos", "recipe": "scratch_cnn", "params": {"epochs": 1}}
    job = client.post("/jobs", new)["id"]
    client.send("POST", f"/jobs/{job}/cancel")
    while client.get(f"/jobs/{job}")["status"] in ("queued", "running"):
        time.sleep(0.05)
    client.send("DELETE", f"/jobs/{job}")


def train(server, table, recipe, size, rates):
    """One epoch of training, or the features of the images that are new."""
    features = recipe.endswith("_features")
    labels = f"{recipe}: {'features' if features else 'epoch'}, by image", f"{recipe}: memory at most, without files"
    too_long = rates.get(recipe, 0) * size > MAX_SECONDS
    if too_long or (not features and size > MAX_DECODED):
        for label in labels:
            table.add(label, "flat", None)
        return
    name, client = f"{recipe}-{size}".replace("_", "-"), Client(server)
    cpu = client.trainers_cpu()
    with Peak(client.pid) as peak:
        server.train(recipe, "photos", name, epochs=1)
    cpu = client.trainers_cpu() - cpu
    if features:
        images, seconds = server.features(name)
    else:
        counts = client.get("/datasets/photos")["counts"]
        images = sum(sum(counts[split].values()) for split in ("train", "validation"))
        seconds = sum(server.epochs(name))
    rates[recipe] = seconds / images
    cpu = cpu * 1e3 / images
    table.add(labels[0], "flat", cpu, f"{cpu:.1f} ms CPU of the job, {images / seconds:.0f} images/s")
    table.add(labels[1], "flat", peak.trainer, f"{peak.trainer:.0f} MB")


def remove(server, table):
    client = Client(server)
    with Peak(client.pid) as peak:
        started = time.perf_counter()
        client.send("DELETE", "/datasets/photos")
        seconds = time.perf_counter() - started
    table.add("deleting the dataset", "linear", seconds, f"{seconds:.1f} s")
    table.add("server's memory at most, deleting", "flat", peak.server, f"{peak.server:.0f} MB")
