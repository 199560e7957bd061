"""POST /predict with LitServe, with batches as its documentation recommends.

python serve_litserve.py PORT WORKERS
"""

import os
import sys

import litserve
from fastapi import Request

from predictor import Predictor, answer


class Api(litserve.LitAPI):
    def setup(self, device):
        self.predictor = Predictor()

    def decode_request(self, request: Request):
        return request["image"].file.read()

    def batch(self, inputs):
        return inputs

    def predict(self, photos):
        return self.predictor.logits(photos)

    def unbatch(self, output):
        return output

    def encode_response(self, logit):
        return answer(logit)


if __name__ == "__main__":
    api = Api(max_batch_size=int(os.environ["LARGEST_BATCH"]), batch_timeout=0.002, api_path="/predict")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=int(sys.argv[2]))
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
