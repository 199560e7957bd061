"""What pyproject.toml can't say: the pinned torch, and that the wheel is for one platform."""

import re
import sysconfig
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface


class Dependencies(MetadataHookInterface):
    """The wheel depends on the torch that the binary was linked with."""

    def update(self, metadata):
        pinned = (Path(self.root) / "scripts/libtorch-requirements.txt").read_text()
        metadata["dependencies"] = [re.search(r"^torch==[0-9.]+", pinned, re.MULTILINE).group()]


class Platform(BuildHookInterface):
    """The wheel contains a binary, and works with every Python; auditwheel says with which Linux."""

    def initialize(self, version, build_data):
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + re.sub("[-.]", "_", sysconfig.get_platform())
