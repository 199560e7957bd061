"""Imports a folder of photos with Pillow in a pool of processes: verified, stored under their hash, with a
thumbnail. Prints a line of JSON with their number.

    python import_pillow.py FOLDER STORE
"""

import hashlib
import io
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image

STORE = Path(sys.argv[2])
SIDE = 180


def take(path):
    photo = path.read_bytes()
    name = hashlib.sha256(photo).hexdigest()
    image = Image.open(io.BytesIO(photo))
    # Reads all of it, at a fraction of the size where the format has that: what is truncated fails here.
    image.thumbnail((SIDE, SIDE))
    image.convert("RGB").save(STORE / f"{name}.thumbnail.jpg")
    (STORE / f"{name}.jpg").write_bytes(photo)
    return name


if __name__ == "__main__":
    STORE.mkdir(parents=True)
    files = [path for path in Path(sys.argv[1]).rglob("*") if path.is_file()]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        names = set(pool.map(take, files))
    print(json.dumps({"images": len(names)}))
