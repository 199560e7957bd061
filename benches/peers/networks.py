"""Pawprint's networks in PyTorch, with the weights of a model file of Pawprint, and as ONNX."""

import json
import struct

import torch
from torch import nn


class ScratchCnn(nn.Module):
    """`scratch_cnn` and `augmented_cnn`: 991,041 parameters. Images [n, 3, 180, 180] in 0 to 1, logits [n]."""

    side, mean, scale = 180, 0.0, 255.0

    def __init__(self, dropout=0.0):
        super().__init__()
        layers, channels = [], 3
        for number, filters in enumerate((32, 64, 128, 256, 256), 1):
            layers += [nn.Conv2d(channels, filters, 3), nn.ReLU()]
            if number < 5:
                layers.append(nn.MaxPool2d(2))
            channels = filters
        self.convolutions = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(7 * 7 * 256, 1)

    def forward(self, x):
        # Pawprint and Keras flatten height, width, channel.
        return self.dense(self.dropout(self.convolutions(x).permute(0, 2, 3, 1).flatten(1))).squeeze(1)

    def load(self, tensors):
        convolutions = [layer for layer in self.convolutions if isinstance(layer, nn.Conv2d)]
        for name, layer in [*((f"conv{n}", it) for n, it in enumerate(convolutions, 1)), ("dense", self.dense)]:
            layer.weight.data = tensors[f"{name}.weight"].float()
            layer.bias.data = tensors[f"{name}.bias"].float()
        return self


def of_model_file(path):
    """The network of a model file of Pawprint's `scratch_cnn`, for inference."""
    from safetensors.torch import load_file

    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        card = json.loads(json.loads(file.read(length))["__metadata__"]["model_card"])
    assert card["architecture"] == "cnn", card["architecture"]
    return ScratchCnn().load(load_file(path)).eval().requires_grad_(False), card["classes"]


def export(path, onnx):
    """Writes the network of a model file as ONNX, for any batch."""
    import warnings

    # Of the exporter: that there is a newer one, which needs another package.
    warnings.simplefilter("ignore")
    network, _ = of_model_file(path)
    images = torch.rand(2, 3, network.side, network.side)
    names = {"input_names": ["images"], "output_names": ["logits"]}
    axes = {"images": {0: "n"}, "logits": {0: "n"}}
    torch.onnx.export(network, (images,), onnx, **names, dynamic_axes=axes, opset_version=17, dynamo=False)
