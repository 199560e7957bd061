"""What ONNX Runtime answers: answers.py TENSOR.onnx PIXELS IMAGE.onnx PHOTO...

PIXELS is a file of resized photos, one after the other. Prints JSON: the outputs of the first model for all
of them, and those of the second model for each photo.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime
from PIL import Image, ImageOps

tensor, pixels, image, *photos = sys.argv[1:]


def session(path):
    onnx.checker.check_model(path, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 2  # Warnings: of shapes that differ from those in the file, for example.
    return onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])


def outputs(session, array):
    (taken,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {taken.name: array})
    return [dict(zip(names, row)) for row in zip(*(value.tolist() for value in values))]


prepared = session(tensor)
shape = prepared.get_inputs()[0].shape[1:]
batch = np.fromfile(pixels, np.uint8).reshape(-1, *shape)
together = outputs(prepared, batch)
alone = [outputs(prepared, batch[place : place + 1])[0] for place in range(len(batch))]
for one, other in zip(together, alone):
    assert np.allclose(one["probabilities"], other["probabilities"], atol=1e-5), (one, other)

whole = session(image)
answers = []
for photo in photos:
    upright = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
    answers += outputs(whole, np.asarray(upright))
json.dump({"prepared": together, "whole": answers}, sys.stdout)
