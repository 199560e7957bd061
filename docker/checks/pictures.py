"""Images that the tests draw or send."""

import io
import random
import struct
import zipfile
import zlib
from pathlib import Path

SAMPLES = Path(__file__).resolve().parent.parent.parent / "static/samples"


def png(pixels):
    """A PNG of rows of RGB bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", len(pixels[0]) // 3, len(pixels), 8, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row for row in pixels), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def stripes(chance, upright):
    """Stripes of random colours, upright or lying."""
    width = chance.randint(3, 12)
    colours = [bytes(chance.randrange(256) for _ in range(3)) for _ in range(2)]
    bar = [colours[at // width % 2] for at in range(64)]
    return png([b"".join(bar)] * 64 if upright else [colour * 64 for colour in bar])


def archive(per_class):
    """A zip of drawn images of two classes."""
    chance = random.Random(1)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as entries:
        for upright, label in ((True, "upright"), (False, "lying")):
            for at in range(per_class):
                entries.writestr(f"{label}/{at}.png", stripes(chance, upright))
    return file.getvalue()


def photo(name):
    return (SAMPLES / f"{name}.jpg").read_bytes()


def form(image):
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="x.jpg"\r\n\r\n'
    return head + image + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"
