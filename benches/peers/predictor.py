"""What each Python server does with a JPEG: decode, resize, forward pass; in ONNX Runtime or PyTorch.

Settings come in environment variables: MODEL (a model file of Pawprint), ONNX (the same as ONNX), THREADS
(of a forward pass; 0: the library's own choice).
"""

import io
import math
import os

import numpy
from PIL import Image

THREADS = int(os.environ.get("THREADS", "0"))
SIDE = 180


def pixels(photo):
    """Pixels [180, 180, 3] of a JPEG, as Pawprint resizes them: bilinear, with antialiasing."""
    image = Image.open(io.BytesIO(photo))
    # A decoder that knows the size may decode at a fraction of it: Pillow's documented way.
    image.draft("RGB", (SIDE, SIDE))
    return numpy.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def answer(logit, classes=("cat", "dog")):
    probability = 1 / (1 + math.exp(-logit))
    return {"label": classes[probability > 0.5], "probability": max(probability, 1 - probability)}


class OnnxRuntime:
    def __init__(self):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        if THREADS:
            options.intra_op_num_threads = THREADS
        self.session = onnxruntime.InferenceSession(os.environ["ONNX"], options, ["CPUExecutionProvider"])

    def logits(self, photos):
        """Logits of photos, which are the bytes of JPEGs."""
        images = numpy.stack([pixels(photo) for photo in photos]).transpose(0, 3, 1, 2)
        return self.session.run(None, {"images": images.astype(numpy.float32) / 255})[0].tolist()

    def predict(self, photo):
        return answer(self.logits([photo])[0])


class Torch:
    def __init__(self):
        import torch

        from networks import of_model_file

        self.torch = torch
        if THREADS:
            torch.set_num_threads(THREADS)
        self.network, _ = of_model_file(os.environ["MODEL"])

    def logits(self, photos):
        torch = self.torch
        images = torch.from_numpy(numpy.stack([pixels(photo) for photo in photos]))
        with torch.inference_mode():
            return self.network(images.permute(0, 3, 1, 2).float() / 255).tolist()

    def predict(self, photo):
        return answer(self.logits([photo])[0])


def make(runtime):
    return {"onnxruntime": OnnxRuntime, "torch": Torch}[runtime]()
