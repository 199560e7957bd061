"""The features of all photos of a folder, by EfficientNet-Lite0 in one runtime. Prints a line of JSON for each
pass: its images and seconds, decoding included.

    python lite0_features.py RUNTIME DATA PASSES
"""

import json
import os
import sys
import time

import torch
import torchvision
from torchvision import transforms as T

import networks
import runtimes


def batches(folder):
    # 127 and 128 of 255: Pawprint's normalisation.
    steps = [T.Resize((224, 224)), T.ToTensor(), T.Normalize((127 / 255,) * 3, (128 / 255,) * 3)]
    photos = torchvision.datasets.ImageFolder(folder, T.Compose(steps))
    workers = len(os.sched_getaffinity(0))
    return torch.utils.data.DataLoader(photos, batch_size=32, num_workers=workers, persistent_workers=True)


def main():
    _, runtime, data, passes = sys.argv
    network = runtimes.make(runtime, 0, networks.lite0, os.environ["LITE0_ONNX"])
    splits = [batches(f"{data}/{split}") for split in ("train", "validation")]
    for _ in range(int(passes)):
        started, count = time.perf_counter(), 0
        for split in splits:
            for images, _ in split:
                count += len(network(images.numpy()))
        print(json.dumps({"images": count, "seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main()
