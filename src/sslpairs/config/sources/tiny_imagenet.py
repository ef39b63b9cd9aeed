"""Tiny ImageNet (Stanford's course CS231n, 2015): 200 classes of ImageNet at 64 x 64 pixels."""

from typing import Literal

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PublishedSource, Side, Storage, hub_caches

ARCHIVE = RemoteFile(
    "tiny-imagenet-200.zip",
    ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
    248_100_043,
    md5="90528d7ca1a48142e341f4ef8d21d0de",
)
"""No sha256 is on record, and the host has no https: the md5 detects damage, but not a forged file."""

HUB = "zh-plus/tiny-imagenet"
"""A copy on the Hugging Face Hub. Its files are smaller than the authors': probably they were saved again; not verified."""


class TinyImageNetSettings(PublishedSource):
    """110,000 colour images of 64 x 64 pixels in 200 classes: 500 for training in each, and 50 for testing, which are the validation
    split, since the labels of the test split are not public."""

    kind: Literal["tiny-imagenet"]
    size: Side = 64
    """Side of the square images in pixels; the originals have 64."""
    storage: Storage = "auto"
    """Store decoded arrays, or the files unchanged. auto: arrays, unless they would take more than 32 GiB. Results are identical."""

    homepage = "http://cs231n.stanford.edu/"
    terms = "none stated with the archive; a part of ImageNet, which is for non-commercial research and education only"
    marks = (
        "tiny-imagenet-200*",
        "train/n01443537",
        "*/train/n01443537",
        "snapshots",
        "datasets--zh-plus--tiny-imagenet",
        "data/train-*-of-*.parquet",
    )
    copies = hub_caches(HUB)
    classes = 200
    official = (100_000, 10_000)

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the archive."""
        return (ARCHIVE,)
