"""One recipe in Keras 3 on TensorFlow. Prints a line of JSON for each epoch, or pass: its images and
seconds, decoding included.

    python train_keras.py RECIPE VARIANT DATA EPOCHS

RECIPE: scratch_cnn, augmented_cnn, vgg16_features, vgg16_finetune.
VARIANT: `notebook`, as the reference notebook has it; or `jit`: compiled with XLA, and images prefetched.
DATA has train/ and validation/, each with a folder for each class.
"""

import json
import os
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from keras import layers

recipe, variant, data, epochs = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
jit = variant == "jit"


def images(split):
    found = keras.utils.image_dataset_from_directory(
        f"{data}/{split}", image_size=(180, 180), batch_size=32, label_mode="int", verbose=False
    )
    return found.prefetch(tf.data.AUTOTUNE) if jit else found


def augmentation():
    return keras.Sequential(
        [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.2)]
    )


def cnn():
    inputs = keras.Input(shape=(180, 180, 3))
    x = augmentation()(inputs) if recipe == "augmented_cnn" else inputs
    x = layers.Rescaling(1.0 / 255)(x)
    for filters in (32, 64, 128, 256):
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(layers.Conv2D(256, 3, activation="relu")(x))
    if recipe == "augmented_cnn":
        x = layers.Dropout(0.5)(x)
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    assert model.count_params() == 991_041
    return model


def vgg():
    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(180, 180, 3))
    base.trainable = True
    for layer in base.layers[:-4]:
        layer.trainable = False
    inputs = keras.Input(shape=(180, 180, 3))
    x = base(keras.applications.vgg16.preprocess_input(augmentation()(inputs)))
    x = layers.Dropout(0.5)(layers.Dense(256)(layers.Flatten()(x)))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))


def report(count, started, **more):
    print(json.dumps({"images": count, "seconds": time.perf_counter() - started, **more}), flush=True)


def features():
    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(180, 180, 3))
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
    model = cnn() if recipe.endswith("_cnn") else vgg()
    rate = 1e-3 if recipe.endswith("_cnn") else 1e-5
    optimizer = keras.optimizers.RMSprop(learning_rate=rate)
    model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"], jit_compile=jit)
    train, validation = images("train"), images("validation")
    count = sum(len(files) for split in ("train", "validation") for _, _, files in os.walk(f"{data}/{split}"))
    model.fit(train, validation_data=validation, epochs=epochs, verbose=0, callbacks=[Clock(count)])


features() if recipe.endswith("_features") else train()
