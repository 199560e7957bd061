#!/usr/bin/env python3
"""Benchmark of EfficientNet-Lite0's forward pass (features of normalised 224x224 images): Pawprint
beside ONNX Runtime and eager PyTorch, with the same weights, which Pawprint has embedded.

usage: benches/inference.py [--rounds N] [--seconds S] [--json FILE] [--afresh]

Sets up its own Python environment in target/bench-inference and builds Pawprint's part, `cargo bench
--bench inference`. Every contestant is a process of its own; they take turns, for S seconds in each
of N rounds, so that what else the machine does hits all alike. Prints the median over all passes
with its quartiles, and each median's ratio to ONNX Runtime's with the same threads and batch.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "target/bench-inference"
BATCHES = [1, 8, 32]

# Limits oneDNN's and ATen's kernels, thus Pawprint's and PyTorch's. ONNX Runtime has no such setting.
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}

# (label, process, variant)
CONTESTANTS = [
    ("ONNX Runtime, fp32", "onnxruntime", "fp32"),
    ("Pawprint, fp32", "pawprint", "fp32"),
    ("Pawprint, bf16", "pawprint", "bf16"),
    ("Pawprint, fp32, AVX2 only", "pawprint-avx2", "fp32"),
    ("PyTorch, fp32", "torch", "fp32"),
    ("PyTorch, bf16, channels last", "torch", "bf16"),
    ("PyTorch, fp32, AVX2 only", "torch-avx2", "fp32"),
]
REFERENCE = CONTESTANTS[0][0]

# (blocks, kernel, stride, expansion, channels), as in src/domain/base.rs.
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]


# ---- Workers: a line "threads batch variant passes" of standard input at a time, answered by a line
# of JSON with the milliseconds of each pass and the features of the first image.


def network():
    """The network as people write it in PyTorch, with the weights that Pawprint has embedded."""
    import torch
    from safetensors.torch import load_file

    weights = load_file(FOLDER / "weights.safetensors")

    class Convolution(torch.nn.Module):
        """TensorFlow's padding: one zero more after the pixels than before them at a stride of 2."""

        def __init__(self, name, kernel, stride=1, depthwise=False, rectified=True):
            super().__init__()
            weight = weights[name + ".weight"].float()
            outputs, inputs = weight.shape[:2]
            groups = outputs if depthwise else 1
            self.convolution = torch.nn.Conv2d(inputs * groups, outputs, kernel, stride, groups=groups)
            self.convolution.weight.data = weight
            self.convolution.bias.data = weights[name + ".bias"].float()
            total = kernel - stride
            self.pad = torch.nn.ZeroPad2d((total // 2, total - total // 2) * 2) if total > 0 else torch.nn.Identity()
            self.activation = torch.nn.ReLU6(inplace=True) if rectified else torch.nn.Identity()

        def forward(self, x):
            return self.activation(self.convolution(self.pad(x)))

    class Block(torch.nn.Module):
        def __init__(self, name, kernel, stride, expansion, residual):
            super().__init__()
            layers = [] if expansion == 1 else [Convolution(name + ".expand", 1)]
            layers.append(Convolution(name + ".depthwise", kernel, stride, depthwise=True))
            layers.append(Convolution(name + ".project", 1, rectified=False))
            self.layers = torch.nn.Sequential(*layers)
            self.residual = residual

        def forward(self, x):
            return x + self.layers(x) if self.residual else self.layers(x)

    layers, before = [Convolution("stem", 3, 2)], 32
    for stage, (blocks, kernel, stride, expansion, channels) in enumerate(STAGES, 1):
        for block in range(1, blocks + 1):
            by = stride if block == 1 else 1
            residual = by == 1 and before == channels
            layers.append(Block(f"block{stage}_{block}", kernel, by, expansion, residual))
            before = channels
    layers += [Convolution("last", 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers).eval()


def images(batch):
    """Normalised images [n, 3, 224, 224]: `images` of inference.rs."""
    import numpy as np

    values = np.arange(batch * 3 * 224 * 224, dtype=np.int64) * 7919 % 251
    return ((values.astype(np.float32) - 127) / 128).reshape(batch, 3, 224, 224)


def torch_worker():
    import torch

    torch.set_grad_enabled(False)
    fp32 = network()
    bf16 = network().to(memory_format=torch.channels_last, dtype=torch.bfloat16)

    def prepare(threads, batch, variant):
        torch.set_num_threads(threads)
        x = torch.from_numpy(images(batch))
        if variant == "bf16":
            x = x.to(memory_format=torch.channels_last, dtype=torch.bfloat16)
            return lambda: bf16(x).float().numpy()
        return lambda: fp32(x).numpy()

    return prepare


def onnxruntime_worker():
    import onnxruntime

    def prepare(threads, batch, _):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(FOLDER / "network.onnx", options, ["CPUExecutionProvider"])
        x = images(batch)
        return lambda: session.run(None, {"images": x})[0]

    return prepare


def export():
    import warnings

    import torch

    # Of the exporter: that there is a newer one, which needs another package.
    warnings.simplefilter("ignore")
    torch.onnx.export(
        network(),
        (torch.from_numpy(images(2)),),
        FOLDER / "network.onnx",
        input_names=["images"],
        output_names=["features"],
        dynamic_axes={"images": {0: "n"}, "features": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )


def work(prepare):
    prepared = {}
    for line in sys.stdin:
        threads, batch, variant, passes = line.split()
        key = (int(threads), int(batch), variant)
        if key not in prepared:
            prepared[key] = prepare(*key)
        run = prepared[key]
        features = run()
        ms = []
        for _ in range(int(passes)):
            started = time.perf_counter()
            features = run()
            ms.append((time.perf_counter() - started) * 1e3)
        print(json.dumps({"ms": ms, "features": features[0].tolist()}), flush=True)


# ---- The benchmark.


def set_up(afresh):
    """The Python of an environment that has the pinned requirements."""
    requirements = Path(__file__).with_name("inference-requirements.txt")
    python, stamp = FOLDER / "venv/bin/python", FOLDER / "installed.txt"
    if afresh or not stamp.exists() or stamp.read_text() != requirements.read_text():
        stamp.unlink(missing_ok=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER / "venv"], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", requirements], check=True)
        stamp.write_text(requirements.read_text())
    return python


def build():
    """The executable of `cargo bench --bench inference`."""
    cargo = [os.environ.get("CARGO", "cargo"), "bench", "--locked", "--bench", "inference", "--no-run"]
    messages = subprocess.run([*cargo, "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    for message in map(json.loads, messages.splitlines()):
        if message.get("target", {}).get("name") == "inference" and message.get("executable"):
            return message["executable"]
    sys.exit("inference.py: cargo built no benchmark")


def cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def quantile(values, share):
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def ask(worker, threads, batch, variant, passes):
    print(threads, batch, variant, passes, file=worker.stdin, flush=True)
    line = worker.stdout.readline()
    if not line:
        sys.exit("inference.py: a contestant ended unexpectedly")
    return json.loads(line)


def measure(workers, threads, batch, rounds, seconds):
    """Milliseconds per image of each contestant's passes, and the largest difference of its features
    from ONNX Runtime's, as a share of their maximum."""
    ms, passes, features = {}, {}, {}
    for label, process, variant in CONTESTANTS:
        first = ask(workers[process], threads, batch, variant, 2)
        passes[label] = max(2, round(seconds * 1e3 / min(first["ms"])))
        features[label] = first["features"]
        ms[label] = []
    for number in range(rounds):
        # Each goes first in turn.
        turn = number % len(CONTESTANTS)
        for label, process, variant in CONTESTANTS[turn:] + CONTESTANTS[:turn]:
            answer = ask(workers[process], threads, batch, variant, passes[label])
            ms[label] += [each / batch for each in answer["ms"]]
    reference = features[REFERENCE]
    largest = max(reference)
    difference = {
        label: max(abs(a - b) for a, b in zip(mine, reference)) / largest for label, mine in features.items()
    }
    return ms, difference


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each contestant in each round")
    parser.add_argument("--json", type=Path, help="also write the results to FILE")
    parser.add_argument("--afresh", action="store_true", help="set up the Python environment again")
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    python, program = set_up(args.afresh), build()
    subprocess.run([program, "--export", FOLDER / "weights.safetensors"], check=True)
    subprocess.run([python, __file__, "--export"], check=True)

    def start(command, environment=None):
        environment = {**os.environ, **(environment or {})}
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    workers = {
        "onnxruntime": start([python, __file__, "--worker", "onnxruntime"]),
        "pawprint": start([program, "--worker"]),
        "pawprint-avx2": start([program, "--worker"], AVX2),
        "torch": start([python, __file__, "--worker", "torch"]),
        "torch-avx2": start([python, __file__, "--worker", "torch"], AVX2),
    }
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{cpu()}, {processors} processors; milliseconds per image: median (quartiles)")
    print("AVX2 only: oneDNN's and ATen's kernels; those of ONNX Runtime can't be limited, so it has all instructions")
    results = []
    for threads in sorted({1, processors}):
        for batch in BATCHES:
            ms, difference = measure(workers, threads, batch, args.rounds, args.seconds)
            reference = quantile(ms[REFERENCE], 0.5)
            print(f"\nthreads {threads}, batch {batch}" + 23 * " " + "ms/image               to ONNX Runtime   difference")
            for label, _, _ in CONTESTANTS:
                low, median, high = (quantile(ms[label], share) for share in (0.25, 0.5, 0.75))
                spread = f"{median:.2f} ({low:.2f}-{high:.2f})"
                print(f"  {label:<40} {spread:<24} {median / reference:.2f}              {difference[label]:.0e}")
                results.append(
                    {
                        "contestant": label,
                        "threads": threads,
                        "batch": batch,
                        "ms_per_image": median,
                        "quartiles": [low, high],
                        "ratio": median / reference,
                        "difference": difference[label],
                        "passes": len(ms[label]),
                    }
                )
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    if args.json:
        args.json.write_text(json.dumps({"cpu": cpu(), "processors": processors, "results": results}, indent=1) + "\n")
    wrong = [r for r in results if "fp32" in r["contestant"] and r["difference"] > 1e-3]
    if wrong:
        sys.exit(f"inference.py: these outputs differ: {wrong}")


if sys.argv[1:2] == ["--worker"]:
    work({"torch": torch_worker, "onnxruntime": onnxruntime_worker}[sys.argv[2]]())
elif sys.argv[1:2] == ["--export"]:
    export()
else:
    main()
