#!/usr/bin/env python3
"""The scratch CNN as in the reference notebook, in Keras 3 on TensorFlow: the reference for the
benchmark of `pawprint train`.

    python -m venv venv && venv/bin/pip install tensorflow-cpu keras
    venv/bin/python benches/keras_scratch_cnn.py DATA [EPOCHS]

DATA contains train/ and validation/, each with cat/ and dog/. Prints the seconds per epoch with
validation. Keras decodes all images in every epoch, as in the notebook.
"""

import os
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from keras import layers

data, epochs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2


def photos(split):
    return keras.utils.image_dataset_from_directory(
        f"{data}/{split}", image_size=(180, 180), batch_size=32, label_mode="int", verbose=False
    )


inputs = keras.Input(shape=(180, 180, 3))
x = layers.Rescaling(1.0 / 255)(inputs)
for filters in (32, 64, 128, 256):
    x = layers.Conv2D(filters, 3, activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
x = layers.Conv2D(256, 3, activation="relu")(x)
outputs = layers.Dense(1, activation="sigmoid")(layers.Flatten()(x))
model = keras.Model(inputs, outputs)
assert model.count_params() == 991_041
model.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])


class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self.started
        print(f"keras: epoch {epoch + 1}: {seconds:.1f} s, val_accuracy {logs['val_accuracy']:.4f}", flush=True)


model.fit(photos("train"), validation_data=photos("validation"), epochs=epochs, verbose=0, callbacks=[Clock()])
