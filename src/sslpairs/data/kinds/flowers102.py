"""Flowers-102."""

import io
from functools import partial
from pathlib import Path

import numpy as np

from sslpairs.config.sources.flowers102 import FILES, Flowers102Settings
from sslpairs.data.photographs import Layout, Lists, assign, open_photographs
from sslpairs.data.sources import Opened
from sslpairs.data.splits import Places
from sslpairs.errors import UserError

LABELS, SPLITS = "imagelabels.mat", "setid.mat"
MAX_MAT = 64_000
"""Maximum bytes of these two files, which may be compressed a thousandfold; the official ones have 502 and 14,989."""
KEYS = {"train": ("trnid",), "trainval": ("trnid", "valid"), "val": ("valid",), "test": ("tstid",)}


def open_source(name: str, source: Flowers102Settings, path: Path) -> Opened:
    """In the order of the authors' numbers of classes and of images."""
    layout = Layout(
        title="Flowers-102",
        files=FILES,
        images="jpg",
        depth=1,
        lists=(LABELS, SPLITS),
        folders=("flowers-102",),
        classes=source.classes,
        read=partial(_read, {"train": KEYS[source.train], "test": KEYS[source.test]}),
    )
    return open_photographs(name, source, path, layout)


def _read(splits: dict[str, tuple[str, ...]], where: str, lists: Lists) -> tuple[list[str], Places]:
    """``labels`` are the classes, from 1, of images 1, 2, ...; the splits are numbers of images."""
    labels = _numbers(where, LABELS, lists, ("labels",))["labels"]
    numbers = _numbers(where, SPLITS, lists, tuple(key for keys in splits.values() for key in keys))
    if labels.size == 0 or labels.min() < 1 or labels.max() > 10_000:
        raise UserError(f"{where}: {LABELS} has no labels from 1; get it again")
    places: Places = {}
    for split, keys in splits.items():
        for number in (one for key in keys for one in numbers[key].tolist()):
            if not 1 <= number <= len(labels):
                raise UserError(f"{where}: {SPLITS} names image {number}, but there are {len(labels):,}; get it again")
            assign(where, places, f"image_{number:05d}.jpg", split, int(labels[number - 1]) - 1)
    return [str(number) for number in range(1, int(labels.max()) + 1)], places


def _numbers(where: str, file: str, lists: Lists, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Lists of numbers, int64 ``[N]``, from a MATLAB file; reading one runs no code."""
    from scipy.io import loadmat

    try:
        if len(lists[file]) > MAX_MAT:
            raise ValueError(f"{len(lists[file]):,} bytes")
        found = loadmat(io.BytesIO(lists[file]), variable_names=keys)
        arrays = {key: np.asarray(found[key]) for key in keys}
        if wrong := [key for key, array in arrays.items() if array.dtype.kind not in "iu"]:
            raise ValueError(f"{wrong[0]} are not whole numbers")
    except Exception as error:  # on damaged bytes scipy raises nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{where}: {file} cannot be read as a MATLAB file with {', '.join(keys)} ({reason}); get it again"
        ) from error
    return {key: array.ravel().astype(np.int64) for key, array in arrays.items()}
