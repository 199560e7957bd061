"""EfficientNet-Lite0's forward pass in one runtime: the features of normalised images.

    python lite0_worker.py RUNTIME

Reads a line `threads batch kind passes` of standard input at a time, as benches/inference.rs does, and answers
with a line of JSON: the milliseconds of each pass, and the features of the first image.
"""

import json
import os
import sys
import time

import numpy

import networks
import runtimes

ready = {}


def images(batch):
    """Normalised images [n, 3, 224, 224]: `images` of inference.rs."""
    values = numpy.arange(batch * 3 * 224 * 224, dtype=numpy.int64) * 7919 % 251
    return ((values.astype(numpy.float32) - 127) / 128).reshape(batch, 3, 224, 224)


for line in sys.stdin:
    threads, batch, _, passes = line.split()
    if threads not in ready:
        ready[threads] = runtimes.make(sys.argv[1], int(threads), networks.lite0, os.environ["LITE0_ONNX"])
    run, x = ready[threads], images(int(batch))
    # The first passes of a batch allocate, and compile.
    for _ in range(2):
        features = run(x)
    ms = []
    for _ in range(int(passes)):
        started = time.perf_counter()
        features = run(x)
        ms.append((time.perf_counter() - started) * 1e3)
    print(json.dumps({"ms": ms, "features": features[0].tolist()}), flush=True)
