"""Data sets that are arrays of pixels: their images in the data set's order, within the limits per class."""

from collections.abc import Iterator

import numpy as np

from sslpairs.config.sources.base import PublishedSource
from sslpairs.data.official import blocks, by_pixels, first_per_class
from sslpairs.data.sources import Opened
from sslpairs.errors import UserError

Arrays = dict[str, tuple[np.ndarray, np.ndarray]]
"""Split -> images uint8 ``[N, C, H, W]``, with any strides, and labels int64 ``[N]``."""
BLOCK = 64 << 20
"""Bytes of images that are handed on at once."""


def in_order_of_pixels(where: str, source: PublishedSource, classes: list[str], arrays: Arrays, form: str) -> Opened:
    """Images ordered by their labels and pixels, so that every copy gives the same data set. UserError for labels that are none."""
    limits = {"train": source.train_per_class, "test": source.test_per_class}
    rows, labels = {}, {}
    for split, (images, found) in arrays.items():
        check_labels(where, split, found, len(classes))
        order = by_pixels(found, images)
        rows[split] = order[first_per_class(found[order], limits[split])]
        labels[split] = found[rows[split]]

    def read(split: str) -> Iterator[np.ndarray]:
        images = arrays[split][0]
        return blocks(images, rows[split], rows_at_once(images[0].nbytes))

    return Opened(where, classes, labels, read, form=form)


def check_labels(where: str, split: str, labels: np.ndarray, classes: int) -> None:
    """UserError if a label int64 ``[N]`` is not in 0..``classes`` - 1, or if there are none."""
    if not len(labels):
        raise UserError(f"{where}: {split}: there are no images in it; get it again")
    if labels.min() < 0 or labels.max() >= classes:
        raise UserError(f"{where}: {split}: labels from {labels.min()} to {labels.max()}; get it again")


def rows_at_once(nbytes: int) -> int:
    """How many images of so many bytes are handed on at once."""
    return max(1, BLOCK // nbytes)
