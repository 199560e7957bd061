"""The notebook in order, in Keras 3 on TensorFlow, and a server for its model.

    python job_keras.py VARIANT PORT DATA EPOCHS

VARIANT: see train_keras.py. DATA has train/, validation/ and test/, each with a folder for each class.
"""

import sys
from pathlib import Path

import keras_notebook as notebook
import numpy
from sklearn.metrics import classification_report

import job_server

BEST = Path(__file__).parents[2] / "target/bench/job.keras"


def main():
    variant, port, data, epochs = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    cached, jit = variant != "notebook", variant == "jit"
    if cached:
        notebook.use_fast_type()
    train, validation, test = (notebook.images(f"{data}/{split}", cached) for split in ("train", "validation", "test"))
    model = notebook.compiled(notebook.cnn(augmented=False), jit)
    best = notebook.keras.callbacks.ModelCheckpoint(BEST, save_best_only=True, monitor="val_loss")
    model.fit(train, validation_data=validation, epochs=epochs, verbose=0, callbacks=[best])
    model = notebook.keras.models.load_model(BEST)
    probabilities, labels = [], []
    for images, targets in test:
        probabilities.append(model.predict(images, verbose=0)[:, 0])
        labels.append(targets)
    predicted, labels = numpy.concatenate(probabilities) > 0.5, numpy.concatenate(labels) > 0
    print(classification_report(labels, predicted, target_names=["cat", "dog"]))

    def predict(pixels):
        return model.predict(pixels[None].astype("float32"), verbose=0)[0, 0]

    job_server.serve(port, 180, predict, float((predicted == labels).mean()))


main()
