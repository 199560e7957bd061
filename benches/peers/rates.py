"""The rates of matrix products and of copying memory in PyTorch, on so many threads: a line of JSON with
FLOP/s and bytes/s.

    python rates.py THREADS KIND...

KIND: fp32 or bf16.
"""

import json
import sys
import time

import torch

SIDE = 2048
BYTES = 1 << 28
SECONDS = 2


def fastest(run):
    """Seconds of the fastest call: other work on the machine only adds time."""
    run()
    seconds, end = [], time.perf_counter() + SECONDS
    while len(seconds) < 3 or time.perf_counter() < end:
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


torch.set_num_threads(int(sys.argv[1]))


def product(kind):
    a, b = (torch.rand(SIDE, SIDE).to(kind) for _ in range(2))
    out = torch.empty(SIDE, SIDE, dtype=kind)
    return 2 * SIDE**3 / fastest(lambda: torch.mm(a, b, out=out))


def copy():
    source, target = torch.zeros(BYTES, dtype=torch.uint8), torch.ones(BYTES, dtype=torch.uint8)
    return 2 * BYTES / fastest(lambda: target.copy_(source))


KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}
print(json.dumps({kind: product(KINDS[kind]) for kind in sys.argv[2:]} | {"copy": copy()}))
