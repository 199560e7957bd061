"""POST /predict with FastAPI on uvicorn.

uvicorn serve_fastapi:app --host 127.0.0.1 --port PORT --workers N
"""

from fastapi import FastAPI, UploadFile
from fastapi.concurrency import run_in_threadpool

from predictor import Predictor

app = FastAPI()
predictor = Predictor()


@app.post("/predict")
async def predict(image: UploadFile):
    return await run_in_threadpool(predictor.predict, await image.read())
