"""Which images of the user's own data are trained on, and which are tested on."""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from sslpairs.config.sources.base import OwnSource
from sslpairs.data.names import same_spelling
from sslpairs.data.sources import UNLABELLED
from sslpairs.errors import UserError

Places = dict[str, tuple[str, int]]
"""Name of an image -> its split, train or test, and its label."""


def test_split(where: str, source: OwnSource, splits: Collection[str]) -> str | None:
    """The split to test on: 'test' or 'val', as ``source.test`` says; None where ``source.held_out`` makes one.

    UserError if there is none, with the remedies.
    """
    if source.held_out:
        return None
    there = [split for split in ("test", "val") if split in splits]
    if source.test != "auto":
        if source.test not in there:
            raise UserError(f"{where}: there is no {source.test} split; add it, or correct 'test' under its source")
        return source.test
    if not there:
        raise UserError(
            f"{where}: there is neither a test nor a val split; add one, or set 'held_out: 0.2' under its source in "
            "config/datasets.yaml to test on a fifth of each class"
        )
    return there[0]


def held_out(names: Sequence[str], labels: np.ndarray, share: float, part: int) -> np.ndarray:
    """Whether each image is tested on instead of trained on: bool ``[N]``.

    Each class is ordered by a hash of its images' names and cut into parts of ``share`` of it; ``part`` is the one held out, so that
    parts 0 to 4 of a share of 0.2 are the folds of a cross-validation. At least one image of a class with two or more is tested on, and
    images without a class never are. The choice depends on the names alone, not on how accents in them are encoded, so it is the same on
    every machine.
    """

    def key(name: str) -> bytes:
        return hashlib.sha256(f"sslpairs held out {same_spelling(name)}".encode("utf-8", "surrogateescape")).digest()

    keys = list(map(key, names))
    mask = np.zeros(len(names), bool)
    for label in np.unique(labels[labels >= 0]):
        rows = sorted(np.flatnonzero(labels == label).tolist(), key=keys.__getitem__)
        if len(rows) > 1:
            begin, end = (round(number * share * len(rows)) for number in (part, part + 1))
            begin = min(begin, len(rows) - 1)
            mask[rows[begin : max(begin + 1, end)]] = True
    return mask


def limited(places: Places, limits: dict[str, int | None]) -> Places:
    """The first images by name of each class, as many as the limit of the split; all that have no class."""
    seen: Counter[tuple[str, int]] = Counter()
    kept = {}
    for name, place in sorted(places.items()):
        limit = limits[place[0]]
        seen[place] += 1
        if limit is None or seen[place] <= limit or place[1] == UNLABELLED:
            kept[name] = place
    return kept
