"""The reference notebook's images and networks in Keras 3 on TensorFlow."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from keras import layers
from measure import cpu_type


def use_fast_type():
    """As Keras's guide to mixed precision has it, where the CPU has bf16."""
    if cpu_type() == "bf16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")


def images(folder, cached):
    found = keras.utils.image_dataset_from_directory(
        folder, image_size=(180, 180), batch_size=32, label_mode="int", verbose=False
    )
    # As TensorFlow's tutorials have it: decoded once.
    return found.cache().prefetch(tf.data.AUTOTUNE) if cached else found


def augmentation():
    return keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.2)])


def cnn(augmented):
    inputs = keras.Input(shape=(180, 180, 3))
    x = augmentation()(inputs) if augmented else inputs
    x = layers.Rescaling(1.0 / 255)(x)
    for filters in (32, 64, 128, 256):
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(layers.Conv2D(256, 3, activation="relu")(x))
    if augmented:
        x = layers.Dropout(0.5)(x)
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid", dtype="float32")(x))
    assert model.count_params() == 991_041
    return model


def vgg_base():
    """The weights are random: they change nothing of the time."""
    return keras.applications.VGG16(weights=None, include_top=False, input_shape=(180, 180, 3))


def vgg():
    base = vgg_base()
    for layer in base.layers[:-4]:
        layer.trainable = False
    inputs = keras.Input(shape=(180, 180, 3))
    x = base(keras.applications.vgg16.preprocess_input(augmentation()(inputs)))
    x = layers.Dropout(0.5)(layers.Dense(256)(layers.Flatten()(x)))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", dtype="float32")(x))


def compiled(model, jit, learning_rate=1e-3):
    optimizer = keras.optimizers.RMSprop(learning_rate=learning_rate)
    model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"], jit_compile=jit)
    return model
