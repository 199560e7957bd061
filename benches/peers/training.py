"""Epochs and feature passes of the notebook's recipes, decoding included: each contestant is a process of
its own."""

from .measure import OURS, cpu_type, fast_type, gpu, script, table, take_turns
from .pawprint import Pawprint
from .serving import settle
from .setup import FOLDER, count, photos, vgg16_weights

SHORT = ["scratch_cnn", "vgg16_features", "vgg16_finetune"]
FULL = [*SHORT, "augmented_cnn"]
# Label, environment, script, variant.
PEERS = [
    ("Keras as the notebook, TensorFlow fp32", "keras", "train_keras.py", "notebook"),
    (f"Keras with cache and prefetch, TensorFlow {cpu_type()}", "keras", "train_keras.py", "cached"),
    (f"Keras with jit_compile, TensorFlow {cpu_type()}, cache and prefetch", "keras", "train_keras.py", "jit"),
    ("PyTorch as people write it, eager fp32", "torch", "train_torch.py", "eager"),
    (f"PyTorch compiled, channels last, {fast_type()}", "torch", "train_torch.py", "compiled"),
]


# Training photos of each class on a GPU, which needs more to be busy at all.
ON_GPU = 1_000
# Epochs that aren't counted: photos are decoded, and kernels compiled, by Keras with jit_compile in the
# second one, too.
WARMING = 2
PASSES = 2


def rates(lines, warming):
    """Images per second of all epochs, or passes, but the first ones."""
    return [each["images"] / each["seconds"] for each in lines[warming:]]


def feature_rates(lines):
    return rates(lines, PASSES - 1)


def run(args):
    epochs, rounds = (3, args.rounds or 1) if args.short else (4, args.rounds or 3)
    weights = vgg16_weights(args.pythons["torch"])
    for recipe in SHORT if args.short else FULL:
        # VGG16 takes ten times as long.
        train = (24, 80) if recipe.startswith("vgg16") else (48, 250)
        train = ON_GPU if gpu() else train[0] if args.short else train[1]
        folder = photos(args.data, train, train // 2, train // 2)
        yield contest(args, recipe, folder, weights, epochs, rounds)


def contest(args, recipe, folder, weights, epochs, rounds):
    features = recipe.endswith("_features")

    def theirs(environment, name, variant):
        at = (args.pythons[environment], name, recipe, variant, folder)
        return feature_rates(script(*at, PASSES)) if features else rates(script(*at, epochs), WARMING)

    contestants = {OURS: lambda: ours(args.program, recipe, folder, weights, epochs)}
    contestants |= {label: lambda at=at: theirs(*at) for label, *at in PEERS}
    rows, left_out = take_turns(contestants, rounds)
    return table(title(recipe, folder), "images/s", "more", rows, left_out)


def title(recipe, folder):
    what = "feature pass" if recipe.endswith("_features") else "epoch with validation"
    return f"{recipe}: {what}, {count(folder, 'train', 'validation')} images"


def ours(program, recipe, folder, weights, epochs):
    """Images per second of the feature pass, or of the epochs that count."""
    with Pawprint(program, FOLDER / "server") as server:
        settle(server.process.pid)
        server.cli("import", folder, "--dataset", "photos")
        if weights and recipe.startswith("vgg16"):
            server.cli("weights", "import", weights)
        if recipe.endswith("_features"):
            server.train(recipe, "photos", "job", epochs=1)
            images, seconds = server.features("job")
            return [images / seconds]
        server.train(recipe, "photos", "job", epochs=epochs)
        images = count(folder, "train", "validation")
        return [images / seconds for seconds in server.epochs("job")[WARMING:]]
