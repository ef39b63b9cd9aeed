"""ImageNet."""

from pathlib import Path

from sslpairs.config.sources.imagenet import ImageNetSettings
from sslpairs.data.imagenet import open_imagenet
from sslpairs.data.sources import Opened


def open_source(name: str, source: ImageNetSettings, path: Path) -> Opened:
    """Any of its forms, in the order of labels and of the authors' file names. Labels are indices of the sorted WordNet IDs."""
    return open_imagenet(name, source, path, "imagenet")
