"""Sources of images, for every kind of data set: opened, then read as uint8 arrays of one size."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslpairs.config.datasets import DatasetSettings
from sslpairs.config.sources.base import Source
from sslpairs.data.progress import say

if TYPE_CHECKING:
    import numpy as np

    from sslpairs.data.listed import Listed


@dataclass(frozen=True)
class Opened:
    """An inspected source; its images are read on demand."""

    where: str
    """How errors name it."""
    classes: list[str]
    labels: "dict[str, np.ndarray]"
    """Of the splits ``train`` and ``test``: int64 ``[N]``."""
    images: "Callable[[], dict[str, np.ndarray]]"
    """Reads them: uint8 ``[N, C, H, W]`` per split."""
    listed: "Listed | None" = None
    """The files, if images are encoded files."""
    storage: str = "arrays"
    """'arrays', or for encoded files 'files' or 'auto'."""

    @property
    def counts(self) -> dict[str, int]:
        """Images per split."""
        return {split: len(labels) for split, labels in self.labels.items()}


def open_source(name: str, dataset: DatasetSettings, root: Path) -> Opened:
    """Inspect a source. UserError, naming the data set and the file, if it is absent, damaged, or not laid out as its kind
    requires."""
    return _kind(dataset.source).open_source(name, dataset.source, root)


def read(name: str, opened: Opened) -> "dict[str, np.ndarray]":
    """The images of the splits as arrays. Progress goes to stderr. UserError for a file that is not an image, and for arrays that do
    not fit in this machine's memory."""
    start = time.monotonic()
    images = opened.images()
    say_read(name, opened.counts, opened.classes, images["train"].shape[1:], start)
    return images


def say_read(name: str, counts: dict[str, int], classes: list[str], shape: Sequence[int], start: float) -> None:
    """Print what was read since ``start`` (``time.monotonic()``) in one line."""
    say(
        f"{name}: read {counts['train']:,} training and {counts['test']:,} test images of {len(classes)} classes, "
        f"{' x '.join(map(str, shape))}, in {time.monotonic() - start:.0f} s"
    )


def source_path(name: str, dataset: DatasetSettings, root: Path) -> Path | None:
    """The path that must exist to prepare the data set, or None if none is needed."""
    return _kind(dataset.source).source_path(name, dataset.source, root)


def is_here(name: str, dataset: DatasetSettings, root: Path) -> bool:
    """Whether the source to prepare the data set from is here."""
    path = source_path(name, dataset, root)
    return path is None or path.exists()


def _kind(source: Source) -> Any:
    return import_module(f"sslpairs.data.kinds.{source.kind.replace('-', '_')}")
