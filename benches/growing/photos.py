"""Writes an archive of small, distinct JPEGs: random parts of the photos in DATA. Every tenth is of the class
`dog`, the others of `cat`; the first 20 of all are `rare`.

usage: photos.py DATA TAR FIRST COUNT
"""

import io
import multiprocessing
import random
import sys
import tarfile
from pathlib import Path

from PIL import Image

RARE = 20


def photo(task):
    """The number of a photo, and its JPEG: the same number and file always make the same one."""
    number, file = task
    chance = random.Random(number)
    with Image.open(file) as image:
        image.draft("RGB", (256, 256))
        image = image.convert("RGB")
    width, height = (int(side * chance.uniform(0.6, 0.9)) for side in image.size)
    left, top = chance.randint(0, image.width - width), chance.randint(0, image.height - height)
    sides = chance.randint(128, 200), chance.randint(128, 200)
    small = image.resize(sides, Image.Resampling.BILINEAR, (left, top, left + width, top + height))
    jpeg = io.BytesIO()
    small.save(jpeg, "JPEG", quality=85)
    return number, jpeg.getvalue()


def main():
    data, archive = Path(sys.argv[1]), sys.argv[2]
    first, count = int(sys.argv[3]), int(sys.argv[4])
    files = sorted(data.rglob("*.jpg"))
    tasks = [(number, files[number % len(files)]) for number in range(first, first + count)]
    with tarfile.open(archive, "w") as tar, multiprocessing.Pool() as pool:
        for number, jpeg in pool.imap(photo, tasks, chunksize=64):
            label = "rare" if number < RARE else "cat" if number % 10 else "dog"
            entry = tarfile.TarInfo(f"{label}/{number:06}.jpg")
            entry.size = len(jpeg)
            tar.addfile(entry, io.BytesIO(jpeg))


if __name__ == "__main__":
    main()
