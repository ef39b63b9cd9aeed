"""ImageNet-100."""

from pathlib import Path

from sslpairs.config.sources.imagenet100 import ImageNet100Settings
from sslpairs.data.imagenet import open_imagenet
from sslpairs.data.sources import Opened


def open_source(name: str, source: ImageNet100Settings, path: Path) -> Opened:
    """Its classes in any form of ImageNet, or alone. Labels are indices of their sorted WordNet IDs."""
    return open_imagenet(name, source, path, "imagenet100")
