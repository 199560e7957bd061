"""POST /predict with BentoML.

bentoml serve serve_bentoml:Cats --host 127.0.0.1 --port PORT
"""

import os
from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType

from predictor import Predictor


@bentoml.service(workers=int(os.environ["WORKERS"]))
class Cats:
    def __init__(self):
        self.predictor = Predictor()

    @bentoml.api(route="/predict")
    def predict(self, image: Annotated[Path, ContentType("image/jpeg")]) -> dict:
        return self.predictor.predict(image.read_bytes())
