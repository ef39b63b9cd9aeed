"""Flowers-102 (Nilsback and Zisserman 2008, Automated Flower Classification over a Large Number of Classes)."""

from typing import Literal

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import ThreeWaySource

HOST = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"


class Flowers102Settings(ThreeWaySource):
    """8,189 photographs of 102 flowers: ten of each for training, ten for validation, the others for tests.

    The classes are named "1" to "102", as the authors number them: their files hold no names.
    """

    kind: Literal["flowers102"]

    homepage = HOST
    terms = "see the homepage"
    marks = ("flowers-102", "setid.mat")
    classes = 102
    balanced = False
    parts = {"train": 1_020, "val": 1_020, "test": 6_149}

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the archive of images, the labels and the splits."""
        return FILES


FILES = (
    RemoteFile(
        "102flowers.tgz",
        (HOST + "102flowers.tgz",),
        344_862_509,
        "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
        "52808999861908f626f3c1f4e79d11fa",
    ),
    RemoteFile(
        "imagelabels.mat",
        (HOST + "imagelabels.mat",),
        502,
        "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
        "e0620be6f572b9609742df49c70aed4d",
    ),
    RemoteFile(
        "setid.mat",
        (HOST + "setid.mat",),
        14_989,
        "46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd",
        "a5357ecc9cb78c4bef273ce3793fc85c",
    ),
)
