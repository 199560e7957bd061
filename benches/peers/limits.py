"""What this machine can do at most, and the share of it that Pawprint's convolutions reach."""

from statistics import median

from .base import Worker
from .measure import OURS, cpu_type, processors, script
from .pawprint import Pawprint
from .serving import first_prediction, settle
from .setup import FOLDER, lite0, photos

PASSES = 20


def run(args):
    """A table whose lines are `lines`, without contestants."""
    python = args.pythons["torch"]
    environment, program = lite0(python)
    every = processors()
    numbers = (1, every) if every > 1 else (1,)
    # A CPU without bf16 emulates it: a product takes minutes.
    kinds = ("fp32", "bf16") if cpu_type() == "bf16" else ("fp32",)
    found = [script(python, "rates.py", threads, *kinds)[0] for threads in numbers]
    (flops,) = script(python, "flops.py", environment=environment)
    head = ["", *(f"{threads} thread{'s' if threads > 1 else ''}" for threads in numbers)]
    lines = [head]
    for kind in kinds:
        lines.append([f"matrix product, {kind}, TFLOP/s", *(f"{each[kind] / 1e12:.3g}" for each in found)])
    lines.append(["copying memory (read and written), GB/s", *(f"{each['copy'] / 1e9:.3g}" for each in found)])

    def share(flops_per_second, kind, at):
        return f"{flops_per_second / found[at][kind]:.0%}"

    for kind in kinds:
        for batch in (1, 32):
            worker = Worker([program, "--worker"], kind)
            reached = []
            for at, threads in enumerate(numbers):
                ms = median(worker.ask(threads, batch, PASSES)["ms"])
                reached.append(share(flops["lite0"] * batch / ms * 1e3, kind, at))
            worker.stop()
            lines.append([f"of it {OURS}'s EfficientNet-Lite0 reaches in {kind}, batch {batch}", *reached])
    ms, kind = small_network(args)
    reached = share(flops["small"] / ms * 1e3, kind, len(numbers) - 1)
    what = f"of it {OURS}'s server reaches with the small network in {kind}, one photo at a time"
    lines.append([what, *[""] * (len(numbers) - 1), reached])
    notes = [
        f"A forward pass takes {flops['small'] / 1e9:.2f} GFLOP in the small network and {flops['lite0'] / 1e9:.2f} in "
        "EfficientNet-Lite0."
    ]
    yield {"title": "What the machine can do at most", "lines": lines, "left_out": {}, "notes": notes}


def small_network(args):
    """Milliseconds of the small network's forward pass in the server, and in which kind."""
    folder = photos(args.data, 100, 50, 50)
    photo = min(folder.rglob("*.jpg")).read_bytes()
    with Pawprint(args.program, FOLDER / "server") as server:
        server.cli("import", folder, "--dataset", "photos")
        server.train("scratch_cnn", "photos", "small", epochs=1)
        settle(server.process.pid)
        answers = [first_prediction(server, photo, "?model=small") for _ in range(PASSES)]
        precision = server.get("/jobs/small")["precision"]
    return median(each["timing_ms"]["inference"] for each in answers), precision
