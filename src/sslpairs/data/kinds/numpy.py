"""NumPy's files: an .npz, or a folder of .npy files, in their order."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sslpairs.config.sources.numpy import NumpySettings
from sslpairs.data.decoding import MAX_PIXELS
from sslpairs.data.names import same_spelling, shown, unusable_as_class
from sslpairs.data.npy import Stored, stored_arrays
from sslpairs.data.official import first_per_class
from sslpairs.data.progress import say
from sslpairs.data.sources import UNLABELLED, Opened
from sslpairs.data.splits import held_out, test_split
from sslpairs.errors import UserError, listed

SPLITS = ("train", "test", "val")
CHANNELS = (1, 3)
Key = int | str
"""A label as it is in the file."""


def open_source(name: str, source: NumpySettings, path: Path) -> Opened:
    """Read the headers and the labels; images are read row by row. UserError, naming the array, for what is not as it must be."""
    where = f"data set '{name}': {shown(str(path))}"
    if not path.exists():
        raise UserError(f"{where}: there is no such file or folder; correct 'path' in config/datasets.yaml")
    pairs = _pairs(where, stored_arrays(where, _file(where, path)))
    tested = test_split(where, source, pairs)
    images = {"train": pairs["train"][0], "test": pairs[tested or "train"][0]}
    for array in images.values():
        _layout(array)
    labels, classes = _labels(where, {split: pairs[split] for split in ("train", tested) if split})
    rows = {split: np.arange(len(found)) for split, found in labels.items()}
    if tested is None:
        mask = held_out([str(row) for row in rows["train"]], labels["train"], source.held_out, source.part)
        rows = {"train": np.flatnonzero(~mask), "test": np.flatnonzero(mask)}
        labels = {split: labels["train"][rows[split]] for split in rows}
    else:
        rows, labels = ({"train": values["train"], "test": values[tested]} for values in (rows, labels))
    for split, limit in (("train", source.train_per_class), ("test", source.test_per_class)):
        kept = first_per_class(labels[split], limit)
        rows[split], labels[split] = rows[split][kept], labels[split][kept]
        if not (labels[split] >= 0).any():
            raise UserError(f"{where}: {split}: there are no images with a label")
    if absent := [c for number, c in enumerate(classes) if number not in labels["test"]]:
        say(f"{where}: no test images of {listed(absent, 5)}")

    def read(split: str) -> Iterator[np.ndarray]:
        axes = _layout(images[split])
        for block in images[split].rows(rows[split]):
            yield block[:, None] if axes is None else block.transpose(axes)

    return Opened(where, classes, labels, read, form=path.name)


def _file(where: str, path: Path) -> Path:
    """The .npz or the folder of .npy files; a folder may also hold a single .npz."""
    if path.is_file():
        if path.suffix == ".npy":
            raise UserError(
                f"{where} is one array; give the folder of it, with train_images.npy, train_labels.npy, ..."
            )
        return path
    files = sorted(path.glob("*.npz"))
    if any(path.glob("*.npy")) or not files:
        return path
    if len(files) > 1:
        raise UserError(f"{where}: there are several files in it ({listed([f.name for f in files], 5)}); give one")
    return files[0]


def _pairs(where: str, found: dict[str, Stored]) -> dict[str, tuple[Stored, Stored]]:
    """Split -> images and labels."""
    names: dict[str, list[str]] = {}
    for name in found:
        names.setdefault(name.lower(), []).append(name)
    pairs = {}
    for split in SPLITS:
        both = []
        for choices in ((f"{split}_images", f"x_{split}"), (f"{split}_labels", f"y_{split}")):
            present = [name for choice in choices for name in names.get(choice, [])]
            if len(present) > 1:
                raise UserError(f"{where}: {listed(present)} are the same by their names; leave one of them")
            both += [found[present[0]] if present else None]
        if both.count(None) == 1:
            kind = "images" if both[0] is None else "labels"
            raise UserError(f"{where}: there are no {split}_{kind} in it; add them")
        if both[0]:
            pairs[split] = (both[0], both[1])
    if "train" not in pairs:
        raise UserError(
            f"{where}: there are no train_images in it (found: {listed(sorted(found), 5) or 'no arrays'}); it needs train_images and "
            "train_labels, or x_train and y_train"
        )
    return pairs


def _layout(images: Stored) -> tuple[int, int, int, int] | None:
    """The order of axes that gives ``[N, C, H, W]``; None for images ``[N, H, W]``.

    The channels are the axis of length 1 or 3: the last one or the second. UserError where that is neither of them or both.
    """
    shape = images.shape
    if images.dtype != np.uint8:
        floats = images.dtype.kind == "f"
        hint = ", for example (images * 255).round().astype('uint8') if they are from 0 to 1" if floats else ""
        raise UserError(f"{images.what}: pixels are {images.dtype}; save them as uint8 from 0 to 255{hint}")
    if len(shape) not in (3, 4) or 0 in shape:
        raise UserError(f"{images.what}: shape {shape} is none of N,H,W and N,H,W,C and N,C,H,W")
    last, second = len(shape) == 4 and shape[3] in CHANNELS, len(shape) == 4 and shape[1] in CHANNELS
    if last and second:
        raise UserError(
            f"{images.what}: shape {shape} can be N,H,W,C and N,C,H,W: images with a side of 1 or 3 pixels; enlarge them, or save grey "
            "ones as N,H,W"
        )
    if len(shape) == 4 and not (last or second):
        raise UserError(
            f"{images.what}: shape {shape} has neither 1 nor 3 channels, last (N,H,W,C) or second (N,C,H,W)"
        )
    height, width = shape[2:] if second else shape[1:3]
    if height * width > MAX_PIXELS:
        raise UserError(f"{images.what}: images of {height} x {width} have more than {MAX_PIXELS:,} pixels")
    images.check_rows()
    return (0, 3, 1, 2) if last else (0, 1, 2, 3) if second else None


def _labels(where: str, pairs: dict[str, tuple[Stored, Stored]]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Split -> labels int64 ``[N]``, and the classes: the distinct labels of train, numbers in numeric order, as text."""
    found = {split: _distinct(images, labels) for split, (images, labels) in pairs.items()}
    keys = sorted({key for key in found["train"][0] if key != UNLABELLED})
    if not keys:
        raise UserError(f"{where}: train: there are no images with a label")
    numbers = {key: number for number, key in enumerate(keys)} | {UNLABELLED: UNLABELLED}
    for key in map(str, keys):
        if reason := unusable_as_class(key):
            raise UserError(f"{where}: the name of the class '{shown(key)}' {reason}; rename it")
    for split, (values, _) in found.items():
        if split != "train" and UNLABELLED in values:
            raise UserError(f"{where}: {split}: label -1 stands for images without a label, which cannot be tested on")
        if extra := [key for key in values if key not in numbers]:
            raise UserError(f"{where}: the class '{shown(str(extra[0]))}' is in {split} but not in train")
    labels = {
        split: np.array([numbers[key] for key in values], np.int64)[inverse]
        for split, (values, inverse) in found.items()
    }
    return labels, list(map(str, keys))


def _distinct(images: Stored, labels: Stored) -> tuple[list[Key], np.ndarray]:
    """The different labels, and which of them each image has."""
    count = images.shape[0]
    if labels.shape not in ((count,), (count, 1)):
        one_hot = (
            "; one-hot labels: save labels.argmax(1)" if len(labels.shape) == 2 and labels.shape[0] == count else ""
        )
        raise UserError(
            f"{labels.what}: shape {labels.shape} instead of one label for each of {count:,} images{one_hot}"
        )
    if labels.dtype.kind not in "biuU":
        raise UserError(
            f"{labels.what}: labels are {labels.dtype}; save them as integers, or as text: labels.astype(str)"
        )
    values, inverse = np.unique(labels.load().reshape(-1), return_inverse=True)
    keys = [same_spelling(str(v)) if labels.dtype.kind == "U" else int(v) for v in values]
    if negative := [key for key in keys if isinstance(key, int) and key < UNLABELLED]:
        raise UserError(f"{labels.what}: there is the label {negative[0]}; only -1, for no label, may be negative")
    return keys, inverse.reshape(-1)
