"""The last part of a job's script: a server for its model."""

import io

import numpy
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image


def serve(port, side, predict, test_accuracy):
    """POST /predict until it is killed. `predict` takes pixels, uint8 [side, side, 3], and returns the
    probability of a dog."""
    app = FastAPI()

    @app.post("/predict")
    def endpoint(image: UploadFile):
        photo = Image.open(io.BytesIO(image.file.read())).convert("RGB")
        dog = float(predict(numpy.asarray(photo.resize((side, side), Image.Resampling.BILINEAR))))
        label = "dog" if dog > 0.5 else "cat"
        return {"label": label, "probability": max(dog, 1 - dog), "test_accuracy": test_accuracy}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
