"""One recipe in PyTorch. Prints a line of JSON for each epoch, or pass: its images and seconds, decoding
included.

    python train_torch.py RECIPE VARIANT DATA EPOCHS

RECIPE: scratch_cnn, augmented_cnn, vgg16_features, vgg16_finetune, efficientnet_lite0_finetune.
VARIANT: `eager`, as people write it: fp32; or `compiled`: bf16 where the processor has it, maps laid out
channels last, torch.compile.
DATA has train/ and validation/, each with a folder for each class. On a GPU, if there is one.
"""

import json
import os
import sys
import time

import torch
import torch._inductor.config
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision import transforms as T

import networks
from measure import fast_type

recipe, variant, data, epochs = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
compiled = variant == "compiled"
bf16 = compiled and fast_type() == "bf16"
device = "cuda" if torch.cuda.is_available() else "cpu"
side = 224 if recipe.startswith("efficientnet") else 180
normal = {
    "vgg": [T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))],
    "eff": [T.Normalize((127 / 255,) * 3, (128 / 255,) * 3)],
}.get(recipe[:3], [])


def images(split, augmented=False):
    augment = [T.RandomHorizontalFlip(), T.RandomAffine(36, scale=(0.8, 1.2))] if augmented else []
    steps = T.Compose([T.Resize((side, side)), T.ToTensor(), *augment, *normal])
    folder = torchvision.datasets.ImageFolder(f"{data}/{split}", steps)
    workers = len(os.sched_getaffinity(0))
    options = {"num_workers": workers, "persistent_workers": True, "pin_memory": device == "cuda"}
    return torch.utils.data.DataLoader(folder, batch_size=32, shuffle=split == "train", **options)


class Vgg(nn.Module):
    """VGG16's convolutions and Pawprint's head; block 5 is trained. The weights are random: they change
    nothing of the time."""

    def __init__(self):
        super().__init__()
        base = torchvision.models.vgg16(weights=None).features
        self.frozen, self.trained = base[:24].requires_grad_(False), base[24:]
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(12800, 256), nn.Dropout(0.5), nn.Linear(256, 1))

    def forward(self, x):
        return self.head(self.trained(self.frozen(x))).squeeze(1)


class Lite0(nn.Module):
    """EfficientNet-Lite0 under a dense layer; stages 5 to 7 and what follows them are trained."""

    def __init__(self):
        super().__init__()
        self.base = networks.lite0()
        for part in (self.base.conv_stem, self.base.bn1, *self.base.blocks[:4]):
            part.requires_grad_(False)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1))

    def train(self, mode=True):
        # Batch normalisation keeps the statistics of the pretraining.
        self.head.train(mode)
        return self

    def forward(self, x):
        return self.head(self.base(x)).squeeze(1)


def network():
    if recipe == "vgg16_finetune":
        return Vgg()
    if recipe == "vgg16_features":
        return torchvision.models.vgg16(weights=None).features.eval()
    if recipe == "efficientnet_lite0_finetune":
        return Lite0()
    return networks.ScratchCnn(dropout=0.5 if recipe == "augmented_cnn" else 0.0)


model = network().to(device)
if compiled:
    model = model.to(memory_format=torch.channels_last)
if compiled and recipe.endswith("_features"):
    # For inference: weights are folded and laid out when it compiles.
    torch._inductor.config.freezing = True
forward = torch.compile(model) if compiled else model


def outputs(x):
    x = x.to(device, non_blocking=True)
    if compiled:
        x = x.to(memory_format=torch.channels_last)
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        return forward(x).float()


def report(count, started, **more):
    if device == "cuda":
        torch.cuda.synchronize()
    print(json.dumps({"images": count, "seconds": time.perf_counter() - started, **more}), flush=True)


def features():
    batches = [images("train"), images("validation")]
    with torch.inference_mode():
        for _ in range(epochs):
            started, count = time.perf_counter(), 0
            for batch in batches:
                for x, _ in batch:
                    count += len(outputs(x))
            report(count, started)


def train():
    train, validation = images("train", augmented=recipe != "scratch_cnn"), images("validation")
    rate = {"vgg": 1e-5, "eff": 1e-4}.get(recipe[:3], 1e-3)
    trained = [it for it in model.parameters() if it.requires_grad]
    optimizer = torch.optim.RMSprop(trained, lr=rate, alpha=0.9, eps=1e-7)
    for _ in range(epochs):
        started, count = time.perf_counter(), 0
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(outputs(x), y.float().to(device))
            loss.backward()
            optimizer.step()
            count += len(x)
        model.eval()
        right = total = 0
        with torch.inference_mode():
            for x, y in validation:
                right += ((outputs(x) > 0).cpu() == y).sum().item()
                total += len(x)
        report(count + total, started, val_accuracy=right / total)


features() if recipe.endswith("_features") else train()
