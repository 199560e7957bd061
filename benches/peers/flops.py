"""Floating-point operations of a forward pass of the small network and of EfficientNet-Lite0 for one image, as
PyTorch counts them: a line of JSON."""

import json

import torch
from torch.utils.flop_counter import FlopCounterMode

import networks


def flops(network, side):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, side, side))
    return counter.get_total_flops()


print(json.dumps({"small": flops(networks.ScratchCnn(), 180), "lite0": flops(networks.lite0(), 224)}))
