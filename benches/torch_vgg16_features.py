#!/usr/bin/env python3
"""The features of VGG16's base as people compute them in PyTorch: the peer that the feature pass of
`vgg16_features` is measured against. The trainer's log says what ours took ("features ready").

    python -m venv venv && venv/bin/pip install torch torchvision
    venv/bin/python benches/torch_vgg16_features.py [IMAGES]

Prints milliseconds per image of 180x180 in batches of 32; decoding is not part of it. Weights are
random: they change nothing of the time.
"""

import sys
import time

import torch
import torchvision

images = int(sys.argv[1]) if len(sys.argv) > 1 else 320
model = torchvision.models.vgg16(weights=None).features.eval()
batch = torch.rand(32, 3, 180, 180)
with torch.no_grad():
    model(batch)
    started = time.perf_counter()
    for _ in range(images // 32):
        model(batch)
    seconds = time.perf_counter() - started
print(f"torch {torch.__version__}: {1000 * seconds / (images // 32 * 32):.1f} ms an image")
