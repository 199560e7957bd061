"""Makes photos of 4000 x 3000 pixels out of smaller ones, half of each class.

python enlarge.py SOURCE TARGET COUNT
"""

import sys
from pathlib import Path

from PIL import Image

source, target, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
for label in ("cat", "dog"):
    (target / label).mkdir(parents=True)
    for path in sorted((source / label).iterdir())[: count // 2]:
        photo = Image.open(path).convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC)
        photo.save(target / label / path.name, quality=90)
