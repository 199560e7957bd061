"""A server with more and more jobs, models, and epochs of one job."""

from peers.pawprint import Pawprint
from peers.setup import FOLDER

from .images import make, start
from .measure import Client, Table, memory
from .rows import LOADABLE, Copies

# Jobs, and models and epochs with them.
STEPS = [(10, 5, 10), (100, 50, 100), (1_000, 500, 1_000), (10_000, 500, 10_000)]


def run(args):
    steps = STEPS[:3] if args.short else STEPS
    table = Table("Jobs: requests, CPU ms of the server (p50 / p95 ms at the client)", "jobs")
    models = Table("Models: the same", "models")
    epochs = Table("Epochs of one job: the same", "epochs")
    with Pawprint(args.program, FOLDER / "growth") as server:
        archive = make(args, 0, 200)
        server.cli("import", archive, "--dataset", "photos")
        archive.unlink()
        server.train("scratch_cnn", "photos", "first", epochs=3)
        job, model = server.get("/jobs/first"), server.get("/models/first")
        copies = Copies(server.folder, job["id"], model["id"])
        for jobs, of_models, of_one in steps:
            server.stop()
            copies.grow(jobs, of_models, of_one)
            table.sizes.append(jobs)
            epochs.sizes.append(of_one)
            start(server, table)
            client = Client(server)
            ask(client, table, copies)
            ask_long(client, epochs, copies.jobs[0], of_one)
            if of_models not in models.sizes:
                models.sizes.append(of_models)
                ask_models(client, models, copies)
            mb = memory(client.pid)
            table.add("server's memory after the requests", "flat", mb, f"{mb:.0f} MB")
    return [table, models, epochs]


def ask(client, table, copies):
    def get(label, *paths, kind="flat", times=50):
        def work():
            for path in paths:
                client.send("GET", path)

        table.add(label, kind, client.cost(work, times))

    def get_all(label, path):
        table.add(label, "linear", client.cost(lambda: list(client.pages(path)), 3))

    listed = [job["id"] for page in client.pages("/jobs") for job in page]
    if set(copies.jobs) - set(listed):
        raise SystemExit("growth: not all jobs are listed")
    get("jobs, first page", "/jobs?limit=10")
    get("jobs, last page", f"/jobs?limit=10&cursor={listed[-11]}")
    get("jobs that are running: none", "/jobs?limit=10&status=running")
    get("jobs that have failed, first page", "/jobs?limit=1&status=failed")
    get("jobs on a dataset, first page", "/jobs?limit=10&dataset=photos")
    get("jobs on a dataset without any", "/jobs?limit=10&dataset=none")
    get("job by name", "/jobs/copy-00001")
    get("job by id", f"/jobs/{copies.jobs[1]}")
    get("job: events, from the first", f"/jobs/{copies.jobs[1]}/events")
    get("job: evaluation", f"/jobs/{copies.jobs[1]}/evaluation")
    get("recipes, with estimates", "/recipes?dataset=photos")
    get("metrics", "/metrics")
    get("page Train: what it asks for", "/datasets?limit=500", "/recipes", "/jobs?limit=50")
    get_all("page Train: jobs that succeeded", "/jobs?status=succeeded")
    get_all("page Evaluate: all jobs", "/jobs")
    table.add("deletion of a job", "flat", client.cost(lambda: client.send("DELETE", f"/jobs/{copies.jobs.pop()}"), 5))


def ask_models(client, table, copies):
    def get(label, path):
        table.add(label, "flat", client.cost(lambda: client.send("GET", path)))

    get("models, first page of 5", "/models?limit=5")
    get("models, last page of 5", f"/models?limit=5&cursor={copies.models[4]}")
    get("model by name", "/models/copy-00001")
    get("model by id", f"/models/{copies.models[1]}")
    get("model in service", "/models/current")
    table.add("page Models: all models", "linear", client.cost(lambda: list(client.pages("/models")), 10))
    image = client.get("/datasets/photos/images?limit=1")["items"][0]["id"]
    body = client.send("GET", f"/images/{image}")
    loadable = [client.get(f"/models/{model}")["name"] for model in copies.models[:LOADABLE]]
    for name in loadable:
        client.send("POST", f"/predict?model={name}", body, {"Content-Type": "image/jpeg"})
    mb = memory(client.pid)
    table.add(f"server's memory after predictions of {LOADABLE} models at most", "flat", mb, f"{mb:.0f} MB")


def ask_long(client, table, job, epochs):
    def get(label, path, kind="linear", headers=None):
        table.add(label, kind, client.cost(lambda: client.send("GET", path, headers=headers), 10))

    if len(client.get(f"/jobs/{job}/metrics")["epochs"]) != epochs:
        raise SystemExit("growth: not all epochs are listed")
    last = client.send("GET", f"/jobs/{job}/events").decode().rsplit("id: ", 1)[1].split()[0]
    get("job", f"/jobs/{job}", "flat")
    get("metrics as JSON", f"/jobs/{job}/metrics")
    get("metrics as CSV", f"/jobs/{job}/metrics", headers={"Accept": "text/csv"})
    get("chart of the accuracy", f"/jobs/{job}/charts/accuracy.svg")
    get("chart of the loss", f"/jobs/{job}/charts/loss.svg")
    get("chart of the confusion matrix", f"/jobs/{job}/charts/confusion.svg", "flat")
    get("events, from the first", f"/jobs/{job}/events")
    get("events, after the last", f"/jobs/{job}/events", "flat", {"Last-Event-ID": last})
