"""Street View House Numbers, cropped digits (Netzer et al. 2011, Reading Digits in Natural Images)."""

from typing import Literal

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PublishedSource, Side, hub_caches

COUNTS = {"train": 73_257, "test": 26_032, "extra": 531_131}
"""As TensorFlow Datasets states them."""
HOST = "http://ufldl.stanford.edu/housenumbers/"
"""Without https: only the digests protect the files."""
FILES = {
    "train": RemoteFile(
        "train_32x32.mat",
        (f"{HOST}train_32x32.mat",),
        182_040_794,
        "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        "e26dedcc434d2e4c54c9b2d4a06d8373",
    ),
    "test": RemoteFile(
        "test_32x32.mat",
        (f"{HOST}test_32x32.mat",),
        64_275_384,
        "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        "eb5a983be6a315427106f1b164d9cef3",
    ),
    "extra": RemoteFile(
        "extra_32x32.mat",
        (f"{HOST}extra_32x32.mat",),
        1_329_278_602,
        "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3",
        "a93ce644f1a588dc4d68dda5feec44a7",
    ),
}

HUB = "ufldl-stanford/svhn"
"""A copy on the Hugging Face Hub, as PNG files in parquet files. No digests of it are on record."""


class SVHNSettings(PublishedSource):
    """99,289 colour images of 32 x 32 pixels of the ten digits, 73,257 of them for training, and 531,131 easier ones."""

    kind: Literal["svhn"]
    size: Side = 32
    """Side of the square images in pixels; the originals have 32."""
    extra: bool = False
    """Also train on the 531,131 extra images."""

    homepage = "http://ufldl.stanford.edu/housenumbers/"
    terms = "non-commercial use only; cite Netzer et al. 2011"
    marks = ("*_32x32.mat", "svhn", "cropped_digits", "snapshots", "datasets--ufldl-stanford--svhn")
    copies = hub_caches(HUB)
    classes = 10
    balanced = False

    @property
    def official(self) -> tuple[int, int]:
        """Training images, with the extra ones if they are used, and test images."""
        return COUNTS["train"] + self.extra * COUNTS["extra"], COUNTS["test"]

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the two or three files."""
        return tuple(file for part, file in FILES.items() if self.extra or part != "extra")
