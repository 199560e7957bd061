"""Pawprint's networks in PyTorch, with Pawprint's weights, and as ONNX."""

import json
import os
import struct
import warnings

import torch
from torch import nn

# Of the exporter: that there is a newer one, which needs another package.
warnings.simplefilter("ignore")


class ScratchCnn(nn.Module):
    """`scratch_cnn` and `augmented_cnn`: 991,041 parameters. Images [n, 3, 180, 180] in 0 to 1, logits [n]."""

    side = 180

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
    return ScratchCnn().load(load_file(path)).eval().requires_grad_(False)


def lite0(classes=0):
    """timm's EfficientNet-Lite0 with the weights that Pawprint has embedded. Normalised images
    [n, 3, 224, 224]; features [n, 1280], or logits. Pawprint's convolutions have a bias, into which batch
    normalisation is folded; timm's have none: here that is the bias of a normalisation of 0 and 1."""
    import timm
    from safetensors.torch import load_file

    weights = load_file(os.environ["LITE0"])
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=classes)

    def load(name, convolution, norm):
        convolution.weight.data = weights[f"{name}.weight"].float()
        norm.bias.data = weights[f"{name}.bias"].float()
        norm.running_var.fill_(1 - norm.eps)

    load("stem", model.conv_stem, model.bn1)
    for stage, blocks in enumerate(model.blocks, 1):
        for number, block in enumerate(blocks, 1):
            # The expansion comes first, but in the first stage, which has none.
            names = ["depthwise", "project"] if stage == 1 else ["expand", "depthwise", "project"]
            parts = ["conv_dw", "conv_pw"] if stage == 1 else ["conv_pw", "conv_dw", "conv_pwl"]
            for at, (name, part) in enumerate(zip(names, parts), 1):
                load(f"block{stage}_{number}.{name}", getattr(block, part), getattr(block, f"bn{at}"))
    load("last", model.conv_head, model.bn2)
    return model.eval()


def export(network, side, path):
    """Writes a network as ONNX, for any batch."""
    names = {"input_names": ["images"], "output_names": ["outputs"]}
    axes = {"images": {0: "n"}, "outputs": {0: "n"}}
    images = torch.rand(2, 3, side, side)
    torch.onnx.export(network, (images,), path, **names, dynamic_axes=axes, opset_version=17, dynamo=False)


def export_small():
    export(of_model_file(os.environ["MODEL"]), 180, os.environ["ONNX"])


def export_lite0():
    export(lite0().requires_grad_(False), 224, os.environ["LITE0_ONNX"])
