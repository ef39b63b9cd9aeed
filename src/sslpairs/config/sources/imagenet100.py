"""ImageNet-100 (Tian et al. 2020, Contrastive Multiview Coding): a hundred classes of ImageNet."""

from typing import Literal

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PublishedSource, Side, Storage
from sslpairs.config.sources.imagenet import CACHES, TRAIN, VAL, marks_of


class ImageNet100Settings(PublishedSource):
    """The classes that CMC chose, which solo-learn and GPS use too, out of any form of ImageNet or in a folder of their own: 126,689
    photographs for training and 5,000 of the validation split for testing. Other lists of 100 classes are told apart and refused."""

    kind: Literal["imagenet100"]
    size: Side = 224
    """Side of the square images in pixels: the shorter side is resized to it, then the centre is cropped."""
    storage: Storage = "auto"
    """Store decoded arrays, or the files unchanged. auto: arrays, unless they would take more than 32 GiB. Results are identical."""

    homepage = "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php"
    terms = "for non-commercial research and education only; needs an account"
    by_hand = True
    marks = ("train.X1", *marks_of("n01558993"))
    caches = CACHES
    within = ("imagenet",)
    classes = 100
    official = (126_689, 5_000)
    balanced = False

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the archives of ImageNet, from which the classes are read."""
        return TRAIN, VAL
