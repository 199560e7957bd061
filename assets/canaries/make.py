#!/usr/bin/env python3
"""Made the canary images beside this file (Pillow 12, NumPy 2); see src/model_file/canary.rs.

They must never change: each model file carries its logits for exactly these bytes.
"""

from pathlib import Path

import numpy as np
from PIL import Image

here = Path(__file__).parent
height, width = 160, 240
y, x = np.mgrid[0:height, 0:width].astype(float)

# Fur-like stripes around two dark eyes, in colours that tell RGB from BGR.
stripes = 0.5 + 0.5 * np.sin(x / 5 + 4 * np.sin(y / 17))
eyes = sum(np.exp(-((x - cx) ** 2 + (y - 60) ** 2) / 150) for cx in (80, 160))
red = 60 + 160 * stripes * (1 - eyes)
green = 40 + 120 * stripes * (1 - eyes)
blue = 30 + 40 * (y / height) + 150 * eyes
colour = np.clip(np.dstack([red, green, blue]), 0, 255).astype(np.uint8)

# Stored on its side, with the EXIF orientation that puts it upright.
exif = Image.Exif()
exif[0x0112] = 6
Image.fromarray(colour).rotate(90, expand=True).save(here / "rotated.jpg", quality=85, exif=exif)

grey = np.clip(128 + 100 * np.sin(x / 11) * np.cos(y / 13), 0, 255).astype(np.uint8)
Image.fromarray(grey).save(here / "grey.jpg", quality=85)

alpha = np.clip(255 * np.hypot(x - 120, y - 80) / 120, 0, 255).astype(np.uint8)
small = np.dstack([colour, alpha])[::2, ::2]
Image.fromarray(np.ascontiguousarray(small)).quantize(64).convert("RGBA").save(here / "alpha.png", optimize=True)
