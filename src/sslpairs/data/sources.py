"""Sources of images, for every kind of data set: found on this machine, then opened."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sslpairs.config.datasets import DatasetSettings
from sslpairs.config.sources.base import PublishedSource, Source
from sslpairs.data.names import shown
from sslpairs.data.shards import braces
from sslpairs.errors import UserError

if TYPE_CHECKING:
    import numpy as np

UNLABELLED = -1
"""Label of training images without a class."""


class Entry(NamedTuple):
    """An image as an encoded file, with its place in the data set."""

    split: str
    """'train' or 'test'."""
    label: int
    name: str
    """Names order the images of a class, so each form of a data set must give the same ones. Errors show them."""
    data: bytes


@dataclass(frozen=True)
class Opened:
    """An inspected source. It gives either ``labels`` and ``images``, as pixels, or ``entries``, as encoded files."""

    where: str
    """How errors name it."""
    classes: list[str]
    labels: "dict[str, np.ndarray] | None" = None
    """Of the splits ``train`` and ``test``: int64 ``[N]``; ``UNLABELLED`` for images without a class, in ``train`` only."""
    images: "Callable[[str], Iterator[np.ndarray]] | None" = None
    """Reads a split in order: blocks uint8 ``[B, C, H, W]`` of any size."""
    entries: Callable[[], Iterator[Entry]] | None = None
    """Reads both splits in one pass, in any order; images are then ordered by label (those without a class last) and name."""
    counted: dict[str, int] | None = None
    """Images per split of ``entries``, if they are known before they are read."""
    settle: "Callable[[dict[str, np.ndarray]], tuple[list[str], dict[str, np.ndarray]]] | None" = None
    """If the classes of ``entries`` are known only after they are read: from their labels to the classes and the final labels, in the
    same order."""
    storage: str = "auto"
    """'arrays', 'files' or 'auto', for ``entries``."""
    form: str = ""
    """What was read, and how it was verified, for example 'cifar-10-binary.tar.gz (sha256 verified)'."""

    @property
    def counts(self) -> dict[str, int] | None:
        """Images per split; None if they are not known before they are read."""
        if self.labels is None:
            return self.counted
        return {split: len(labels) for split, labels in self.labels.items()}


def open_source(name: str, dataset: DatasetSettings, root: Path, given: Path | None = None) -> Opened:
    """Inspect a source: at ``given``, else where ``find`` finds it. UserError, naming the data set and the file, if it is absent,
    damaged, or not laid out as its kind requires."""
    source = dataset.source
    path = given or find(name, dataset, root)
    if path is None and needs_path(source):
        raise UserError(absent(name, dataset, root))
    kind = import_module(f"sslpairs.data.kinds.{source.kind.replace('-', '_')}")
    return kind.open_source(name, source, path)


def needs_path(source: Source) -> bool:
    """Whether the images come from a file or folder, rather than with a library."""
    return "path" in type(source).model_fields


def find(name: str, dataset: DatasetSettings, root: Path) -> Path | None:
    """Return the file or folder to prepare the data set from; None if it needs none, or if a published data set is not here.

    A ``path`` that is set is returned whether it exists or not.
    """
    source = dataset.source
    if getattr(source, "path", None):
        return root / expanded(name, source.path)
    if not isinstance(source, PublishedSource):
        return None
    places = [
        downloads(source, root),
        *(sources(root) / kind for kind in source.within),
        sources(root),
        *(Path(os.path.expandvars(c)).expanduser() for c in source.caches + (() if source.original else source.copies)),
    ]
    for place in places:
        if place.is_dir() and any(_lies_in(place, mark) for mark in source.marks):
            return place
    return None


def _lies_in(place: Path, mark: str) -> bool:
    """Whether the place has something of this name that is neither an unfinished download nor a folder with nothing else in it."""
    return any(
        _is_whole(found) and (not found.is_dir() or any(map(_is_whole, found.iterdir()))) for found in place.glob(mark)
    )


def _is_whole(path: Path) -> bool:
    return not {".part", ".lock"} & set(path.suffixes) and not path.name.startswith(".")


def sources(root: Path) -> Path:
    """Return the folder of files as others publish them: ``$SSLPAIRS_SOURCES``, by default ``sources/``."""
    return root / Path(os.environ.get("SSLPAIRS_SOURCES", "sources")).expanduser()


def downloads(source: PublishedSource, root: Path) -> Path:
    """Return the folder to which a published data set is downloaded."""
    return sources(root) / source.kind


def is_here(name: str, dataset: DatasetSettings, root: Path) -> bool:
    """Whether the source to prepare the data set from is here."""
    path = find(name, dataset, root)
    if path is None:
        return not needs_path(dataset.source)
    return path.exists() or any(Path(file).exists() for file in braces(str(path)))


def absent(name: str, dataset: DatasetSettings, root: Path) -> str:
    """Error message for a data set that is not on this machine and cannot be downloaded."""
    source = dataset.source
    if getattr(source, "path", None):
        what = (
            f"data set '{name}': {find(name, dataset, root)}: there is no such file or folder; put the data there, or "
        )
        search = " (without it the data set is searched for)" * isinstance(source, PublishedSource)
        return f"{what}correct 'path' in config/datasets.yaml{search}"
    files = ", ".join(file.name for file in source.remote())
    folder = sources(root) / (*source.within, source.kind)[0]  # where the data sets of which it is a part find it, too
    return (
        f"data set '{name}': not on this machine; get it from {source.homepage} (terms: {source.terms}), then put "
        f"{files or 'it'} into {folder}, or: sslpairs fetch {name} --from PATH"
    )


def get_instead(name: str, file: str) -> str:
    """Remedy for files that are recognised but not read; as long as they lie where the data set is searched for, it is not downloaded."""
    return f"get {file}: without these files in the way, `sslpairs fetch {name}` downloads it"


def unusable(where: str, file: str, reason: object) -> str:
    """Error message for a file of the source that cannot be decoded."""
    return f"{where}: {shown(file)} cannot be read as an image ({reason}); replace it or remove it"


def expanded(name: str, path: str, setting: str = "path") -> str:
    """A path from the configuration with ~ and $VARIABLES expanded; UserError, naming the ``setting``, if one is not set."""
    text = os.path.expandvars(path)
    if unset := re.search(r"\$\w+|\$\{\w+\}", text):
        raise UserError(
            f"data set '{name}': {setting} '{path}': the environment variable {unset[0]} is not set; "
            "set it, or write the path out in config/datasets.yaml"
        )
    return os.path.expanduser(text)
