"""What each Python server does with a JPEG: decode, resize, forward pass.

Settings come in environment variables: RUNTIME (see runtimes.py), MODEL (a model file of Pawprint), ONNX (the same
as ONNX), THREADS (of a forward pass; 0: the library's own choice), LARGEST_BATCH (of a forward pass), WHOLE
(anything: photos are decoded as most people do it, in their full size).
"""

import io
import math
import os

import numpy
from PIL import Image

import runtimes

SIDE = 180
WHOLE = "WHOLE" in os.environ


def pixels(photo):
    """Pixels [180, 180, 3] of a JPEG, as Pawprint resizes them: bilinear, with antialiasing."""
    image = Image.open(io.BytesIO(photo))
    if not WHOLE:
        # A decoder that knows the size may decode at a fraction of it: Pillow's documented way.
        image.draft("RGB", (SIDE, SIDE))
    return numpy.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def answer(logit):
    probability = 1 / (1 + math.exp(-logit))
    return {"label": "dog" if probability > 0.5 else "cat", "probability": max(probability, 1 - probability)}


def network():
    from networks import of_model_file

    return of_model_file(os.environ["MODEL"])


class Predictor:
    def __init__(self):
        threads = int(os.environ["THREADS"])
        self.run = runtimes.make(os.environ["RUNTIME"], threads, network, os.environ["ONNX"])
        # What a runtime does at its first call; torch.compile, for one image and for two kinds of batches.
        for batch in range(1, min(int(os.environ["LARGEST_BATCH"]), 3) + 1):
            self.run(numpy.zeros((batch, 3, SIDE, SIDE), numpy.float32))

    def logits(self, photos):
        """Logits of photos, which are the bytes of JPEGs."""
        images = numpy.stack([pixels(photo) for photo in photos]).transpose(0, 3, 1, 2)
        return self.run(numpy.ascontiguousarray(images, numpy.float32) / 255).tolist()

    def predict(self, photo):
        return answer(self.logits([photo])[0])
