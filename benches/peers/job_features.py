"""The Lite0 features recipe in Python: features, a logistic regression of scikit-learn, its evaluation, and a server.

    python job_features.py RUNTIME PORT DATA EPOCHS    (EPOCHS means nothing here)

RUNTIME: see runtimes.py. DATA has train/, validation/ and test/, each with a folder for each class.
"""

import os
import sys

import numpy
from lite0_features import batches
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report, log_loss
from sklearn.preprocessing import StandardScaler

import job_server
import networks
import runtimes


def main():
    runtime, port, data = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    network = runtimes.make(runtime, 0, networks.lite0, os.environ["LITE0_ONNX"])

    def features(split):
        pairs = [(network(images.numpy()), labels.numpy()) for images, labels in batches(f"{data}/{split}")]
        return (numpy.concatenate(each) for each in zip(*pairs))

    x, y = features("train")
    validation, labels = features("validation")
    scaler = StandardScaler().fit(x)
    # The regularisation that is best on the validation split.
    candidates = [
        LogisticRegression(C=c, max_iter=1000).fit(scaler.transform(x), y) for c in (1e-4, 1e-3, 1e-2, 1e-1, 1)
    ]
    best = min(candidates, key=lambda it: log_loss(labels, it.predict_proba(scaler.transform(validation))))
    test, labels = features("test")
    predicted = best.predict(scaler.transform(test))
    print(classification_report(labels, predicted, target_names=["cat", "dog"]))

    def predict(pixels):
        images = (pixels.transpose(2, 0, 1)[None].astype("float32") - 127) / 128
        return best.predict_proba(scaler.transform(network(images)))[0, 1]

    job_server.serve(port, 224, predict, float((predicted == labels).mean()))


if __name__ == "__main__":
    main()
