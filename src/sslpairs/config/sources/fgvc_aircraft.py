"""FGVC-Aircraft (Maji et al. 2013, Fine-Grained Visual Classification of Aircraft)."""

from typing import Literal

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import ThreeWaySource


class FGVCAircraftSettings(ThreeWaySource):
    """10,000 photographs of aircraft of 100 variants, 70 families or 30 manufacturers (release 2013b).

    The banner with the photographer's name, the lowest 20 pixels of each picture, is not cut off: torchvision and the papers' code keep
    it too.
    """

    kind: Literal["fgvc-aircraft"]
    level: Literal["variant", "family", "manufacturer"] = "variant"
    """What the classes are."""

    homepage = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/"
    terms = "for non-commercial research only; the photographers keep their copyright"
    marks = ("fgvc-aircraft-2013b", "fgvc-aircraft-2013b.tar.gz", "variants.txt", "data/variants.txt")
    classes = 100
    balanced = False
    parts = {"train": 3_334, "val": 3_333, "test": 3_333}

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the archive of images and lists."""
        return FILES


FILES = (
    RemoteFile(
        "fgvc-aircraft-2013b.tar.gz",
        ("https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",),
        2_753_340_328,
        "e4e323d410e29f0370c81eabdcbb0e2b813acea1de22891b70b58ff41bfc9834",
        "d4acdd33327262359767eeaa97a4f732",
    ),
)
CLASSES = {"variant": 100, "family": 70, "manufacturer": 30}
