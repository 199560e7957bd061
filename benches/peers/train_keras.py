"""One recipe in Keras 3 on TensorFlow. Prints a line of JSON for each epoch, or pass: its images and
seconds, decoding included.

    python train_keras.py RECIPE VARIANT DATA EPOCHS

RECIPE: scratch_cnn, augmented_cnn, vgg16_features, vgg16_finetune.
VARIANT: `notebook`, as the reference notebook has it; `cached`: images decoded once and prefetched, bf16 where the
CPU has it; or `jit`: the same, compiled with XLA.
DATA has train/ and validation/, each with a folder for each class.
"""

import json
import os
import sys
import time

import keras_notebook as notebook
from keras_notebook import keras

recipe, variant, data, epochs = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
cached, jit = variant != "notebook", variant == "jit"
if cached:
    notebook.use_fast_type()


def images(split):
    return notebook.images(f"{data}/{split}", cached)


def report(count, started, **more):
    print(json.dumps({"images": count, "seconds": time.perf_counter() - started, **more}), flush=True)


def features():
    base = notebook.vgg_base()
    base.compile(jit_compile=jit)
    for _ in range(epochs):
        started, count = time.perf_counter(), 0
        # As in the notebook: a batch after the other.
        for split in ("train", "validation"):
            for x, _ in images(split):
                count += len(base.predict(keras.applications.vgg16.preprocess_input(x), verbose=0))
        report(count, started)


class Clock(keras.callbacks.Callback):
    def __init__(self, count):
        super().__init__()
        self.count = count

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        report(self.count, self.started, val_accuracy=float(logs["val_accuracy"]))


def train():
    if recipe == "vgg16_finetune":
        model = notebook.compiled(notebook.vgg(), jit, 1e-5)
    else:
        model = notebook.compiled(notebook.cnn(augmented=recipe == "augmented_cnn"), jit)
    count = sum(len(files) for split in ("train", "validation") for _, _, files in os.walk(f"{data}/{split}"))
    clock = Clock(count)
    model.fit(images("train"), validation_data=images("validation"), epochs=epochs, verbose=0, callbacks=[clock])


features() if recipe.endswith("_features") else train()
