"""Food-101 (Bossard et al. 2014, Food-101: Mining Discriminative Components with Random Forests)."""

from typing import Literal

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PhotographSource, hub_caches

HUB = "ethz/food101"
"""A copy on the Hugging Face Hub, as parquet files. No digests of it are on record."""


class Food101Settings(PhotographSource):
    """101,000 photographs of 101 dishes: 750 of each for training, some with wrong labels, and 250, which were checked, for tests."""

    kind: Literal["food101"]

    homepage = "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/"
    terms = "the images belong to users of Foodspotting: scientific fair use only"
    marks = (
        "food-101",
        "food-101.tar.gz",
        "meta/train.json",
        "snapshots",
        "datasets--ethz--food101",
        "data/train-*-of-*.parquet",
    )
    copies = hub_caches(HUB)
    classes = 101
    official = (75_750, 25_250)

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the archive of images and lists."""
        return FILES


FILES = (
    RemoteFile(
        "food-101.tar.gz",
        ("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",),
        4_996_278_331,
        "d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4",
        "85eeb15f3717b99a5da872d97d918f87",
    ),
)
