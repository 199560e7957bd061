"""POST /predictions/predict with TorchServe, with batches as its documentation recommends; it needs Java.

    python serve_torchserve.py PORT WORKERS FOLDER    makes an archive of the model in FOLDER and serves it

Also the handler in that archive.
"""

import json
import os
import subprocess
import sys
from pathlib import Path


class Handler:
    def initialize(self, context):
        from predictor import Predictor

        self.predictor = Predictor()

    def handle(self, requests, context):
        from predictor import answer

        return [answer(logit) for logit in self.predictor.logits([bytes(it["image"]) for it in requests])]


def main(port, workers, folder):
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    tools = Path(sys.executable).parent
    # The archive has nothing but this file, which finds the model by itself.
    archive = Path("predict.mar")
    if not archive.exists() or archive.stat().st_mtime < Path(__file__).stat().st_mtime:
        options = ["--model-name", "predict", "--version", "1.0", "--handler", __file__, "--force"]
        subprocess.run([tools / "torch-model-archiver", *options], check=True)
    model = {
        "marName": "predict.mar",
        "minWorkers": workers,
        "maxWorkers": workers,
        "batchSize": int(os.environ["LARGEST_BATCH"]),
        "maxBatchDelay": 2,
    }
    settings = {
        "inference_address": f"http://127.0.0.1:{port}",
        "management_address": f"http://127.0.0.1:{port + 1}",
        "metrics_address": f"http://127.0.0.1:{port + 2}",
        "grpc_inference_port": port + 3,
        "grpc_management_port": port + 4,
        "disable_token_authorization": "true",
        "default_startup_timeout": 600,
        "model_store": os.getcwd(),
        "load_models": "predict.mar",
        "models": json.dumps({"predict": {"1.0": model}}),
    }
    Path("config.properties").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    options = ["--start", "--foreground", "--ncs", "--ts-config", "config.properties"]
    # Its workers find predictor.py there.
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    path = os.pathsep.join([str(tools), os.environ["PATH"]])
    environment = os.environ | {"PYTHONPATH": paths, "PATH": path}
    os.execve(tools / "torchserve", ["torchserve", *options], environment)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
