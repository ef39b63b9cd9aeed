"""DTD (Cimpoi et al. 2014, Describing Textures in the Wild)."""

from typing import Annotated, Literal

from pydantic import Field

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import ThreeWaySource


class DTDSettings(ThreeWaySource):
    """5,640 photographs of 47 textures: in each of ten partitions, 40 of a texture for training, for validation and for tests."""

    kind: Literal["dtd"]
    partition: Annotated[int, Field(ge=1, le=10)] = 1
    """Which of the authors' ten partitions; most papers use the first."""

    homepage = "https://www.robots.ox.ac.uk/~vgg/data/dtd/"
    terms = "for research"
    marks = ("dtd-r1.0.1.tar.gz", "labels/train1.txt", "dtd/labels", "dtd/dtd/labels")
    classes = 47
    parts = {"train": 1_880, "val": 1_880, "test": 1_880}

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the archive of images and lists."""
        return FILES


FILES = (
    RemoteFile(
        "dtd-r1.0.1.tar.gz",
        ("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",),
        625_239_812,
        "e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",
        "fff73e5086ae6bdbea199a49dfb8a4c1",
    ),
)
