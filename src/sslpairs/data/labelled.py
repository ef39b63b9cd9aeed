"""The user's own images with a label each: their classes, and which of them are trained and tested on."""

from collections.abc import Mapping, Sequence

import numpy as np

from sslpairs.config.sources.base import OwnSource
from sslpairs.data.names import same_spelling, shown, unusable_as_class
from sslpairs.data.official import first_per_class
from sslpairs.data.progress import say
from sslpairs.data.sources import UNLABELLED
from sslpairs.data.splits import held_out
from sslpairs.errors import UserError, listed

UNUSED, TRAIN, TEST = -1, 0, 1
"""What becomes of an image."""


def numbered(
    where: str, labels: Mapping[str, np.ndarray], names: Sequence[str] | None
) -> tuple[list[str], dict[str, np.ndarray]]:
    """The classes, which are those of the training images, and the labels as indices of them, in the same order.

    ``labels`` are int64 ``[N]`` of 'train' and perhaps of a split to test on, ``UNLABELLED`` in 'train' only; ``names`` their classes'
    names, by default the numbers themselves. UserError for any other label, and for a test class without training images.
    """
    train = labels["train"]
    known = np.unique(train[train >= 0])
    if not len(known):
        raise UserError(f"{where}: no training image has a label; evaluations need some")

    def name(label: int) -> str:
        return str(label) if names is None else same_spelling(names[label])

    for split, found in labels.items():
        if not len(found):
            raise UserError(f"{where}: the {split} split has no images; get it again")
        if (low := found.min()) < UNLABELLED or (names is not None and found.max() >= len(names)):
            wrong = low if low < UNLABELLED else found.max()
            expected = "0" if names is None else f"0 to {len(names) - 1}, since there are {len(names)} names of classes"
            raise UserError(
                f"{where}: the {split} split has the label {wrong}; labels count from {expected}, and -1 is none"
            )
        if split == "train":
            continue
        if without := int((found == UNLABELLED).sum()):
            raise UserError(
                f"{where}: {without:,} images of the {split} split have no label; add their labels, or remove them"
            )
        if len(extra := np.setdiff1d(found, known)):
            raise UserError(
                f"{where}: the class '{shown(name(extra[0]))}' is in the {split} split, but not in train; add it there"
            )
        if len(untested := np.setdiff1d(known, found)):
            say(f"{where}: the {split} split has no images of {listed([name(label) for label in untested], 5)}")
    classes = [name(label) for label in known]
    for c in classes:
        if reason := unusable_as_class(c):
            raise UserError(f"{where}: the name of the class '{shown(c)}' {reason}; rename it")
    if names is not None and (absent := np.setdiff1d(np.arange(len(names)), known)).size:
        say(f"{where}: {len(absent)} classes without training images are left out: {listed(map(name, absent), 5)}")
    if len(classes) == 1:
        say(f"warning: {where} has only one class, '{classes[0]}': every accuracy will be 100 % and mean nothing")
    return classes, {
        split: np.where(found < 0, UNLABELLED, np.searchsorted(known, found)).astype(np.int64)
        for split, found in labels.items()
    }


def chosen(
    name: str, source: OwnSource, labels: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """For each image of 'train' and of the split to test on: ``TRAIN``, ``TEST`` or ``UNUSED``, int8 ``[N]``.

    As the source's ``held_out`` says if it is set; then the limits per class keep the first images by name, as for folders.
    """
    places = {
        split: np.full(len(found), TRAIN if split == "train" else TEST, np.int8) for split, found in labels.items()
    }
    if source.held_out:
        places["train"][held_out(names["train"], labels["train"], source.held_out, source.part)] = TEST
    for split, found in labels.items():
        spelt = [same_spelling(file) for file in names[split]]
        for place, limit in ((TRAIN, source.train_per_class), (TEST, source.test_per_class)):
            if limit is None:
                continue
            rows = np.flatnonzero(places[split] == place)
            rows = np.array(sorted(rows.tolist(), key=lambda row: (spelt[row], names[split][row])), np.int64)
            places[split][rows] = UNUSED
            places[split][rows[first_per_class(found[rows], limit)]] = place
            if short := int(((count := np.bincount(found[rows][found[rows] >= 0])) < limit)[count > 0].sum()):
                part = "test" if place == TEST else "train"
                say(f"{name}: {part}: fewer than {limit} images in {short} classes; all of them are used")
    return places


def counts(places: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Images that are trained and tested on."""
    return {
        split: int(sum((found == place).sum() for found in places.values()))
        for split, place in (("train", TRAIN), ("test", TEST))
    }
