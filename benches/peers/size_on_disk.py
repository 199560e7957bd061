"""How large packages and all that they need are on disk, without CUDA: a line of JSON.

python size_on_disk.py PACKAGE…
"""

import json
import sys
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement

# What PyTorch's wheel brings for GPUs: packages, and libraries in its own.
FOR_CUDA = ("nvidia", "cuda", "triton")
LIBRARIES = ("libtorch_cuda", "libcaffe2_nvrtc", "libtorch_nvshmem", "libc10_cuda")

seen, waiting, total = set(), list(sys.argv[1:]), 0
while waiting:
    name = waiting.pop().lower().replace("_", "-")
    if name in seen or name.startswith(FOR_CUDA):
        continue
    seen.add(name)
    try:
        package = distribution(name)
    except PackageNotFoundError:
        continue
    for file in package.files or []:
        path = file.locate()
        if path.is_file() and not path.name.startswith(LIBRARIES):
            total += path.stat().st_size
    for text in package.requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            waiting.append(requirement.name)
print(json.dumps({"bytes": total, "packages": sorted(seen)}))
