"""POST /predict with FastAPI on uvicorn.

uvicorn serve_fastapi:app --host 127.0.0.1 --port PORT --workers N
"""

import os

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, UploadFile

from predictor import Predictor

app = FastAPI()
predictor = Predictor()
# A worker of one thread computes one request after the other; 40 is AnyIO's default.
at_once = CapacityLimiter(1 if os.environ["THREADS"] == "1" else 40)


@app.post("/predict")
async def predict(image: UploadFile):
    return await to_thread.run_sync(predictor.predict, await image.read(), limiter=at_once)
