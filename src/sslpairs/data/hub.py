"""Copies of published data sets on the Hugging Face Hub: found at a path, and sorted into the splits to train and to test on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PublishedSource
from sslpairs.data import parquet
from sslpairs.data.columns import columns
from sslpairs.data.decoding import decode_exact
from sslpairs.data.names import same_spelling, shown
from sslpairs.data.official import verify
from sslpairs.data.pixels import Arrays
from sslpairs.data.shards import Splits, find, label, snapshot
from sslpairs.data.sources import unusable
from sslpairs.errors import UserError


@dataclass(frozen=True)
class Hub:
    """A repository of the Hub that holds a copy."""

    repository: str
    """'<org>/<name>'."""
    folder: str = "data"
    """The folder of its files in the repository."""
    label: str | None = None
    """The column of the labels; None if the files tell it."""
    test: str = "test"
    """The split to test on: 'test' or 'val'."""
    files: Mapping[str, RemoteFile] | None = None
    """Split -> its only file, if the digests are on record."""
    suffixes: tuple[str, ...] = parquet.SUFFIXES
    pattern: str = "*"
    """What the names of its files are like, before the suffix."""

    @property
    def names(self) -> tuple[str, str]:
        """The names of its folders in the Hub's cache and in that of ``datasets``."""
        return f"datasets--{self.repository.replace('/', '--')}", self.repository.replace("/", "___")

    def has(self, path: Path) -> bool:
        """Whether this is a file that may be one of its."""
        return path.is_file() and any(path.match(self.pattern + suffix) for suffix in self.suffixes)


def hub_folder(where: str, path: Path, hub: Hub) -> Path | None:
    """The folder at this path, or in it, that holds the copy: in the Hub's cache, in that of ``datasets``, or by itself; None if there
    is none. UserError for one of its files alone, and for a cache with several revisions of which none is named."""
    if hub.has(path):
        raise UserError(f"{where}: this is one of the files of a copy; give the path of the folder that has them all")
    files = [f"{inner}{hub.pattern}{suffix}" for suffix in hub.suffixes for inner in ("", "data/", "train/")]
    around = sorted({file.parent for file in path.glob(f"*/{hub.folder}/{hub.pattern}{hub.suffixes[0]}")})
    for place in (*(path / name for name in hub.names), path, *around):
        top = snapshot(where, place) if (place / "snapshots").is_dir() else place
        for folder in (top / hub.folder, top):
            if any(next(folder.glob(file), None) for file in files):
                return folder
        if place.name in hub.names and place.is_dir():
            return top
    return None


def hub_splits(where: str, folder: Path, hub: Hub) -> Splits:
    """Its files: 'train', and as 'test' those to test on. UserError if either is missing."""
    files = find(where, folder, hub.suffixes)
    if hub.test not in files:
        raise UserError(f"{where}: there is no {hub.test} split in it; get all files of {hub.repository}")
    return {"train": files["train"], "test": files[hub.test]}


def check_original(where: str, source: PublishedSource) -> None:
    """UserError if only the authors' files are accepted: nothing is on record to compare a copy with."""
    if source.original:
        raise UserError(
            f"{where}: these are not the authors' files, and there is no digest to compare them with\n"
            "set 'original: false' under its source in config/datasets.yaml to use them as they are"
        )


def hub_pixels(
    where: str, source: PublishedSource, folder: Path, hub: Hub, side: int, classes: Sequence[str]
) -> tuple[Arrays, str]:
    """Rows of a PNG file and a label, decoded, in the order of the rows; and the form for receipts. They hold the authors' pixels: PNG
    loses nothing. UserError if they are not the files on record, or if they number the ``classes`` in another way."""
    parquet.need_pyarrow(where)
    files = hub_splits(where, folder, hub)
    if source.original:
        known = hub.files if all(file.suffix == ".parquet" for f in files.values() for file in f) else None
        for split in ("train", "test"):
            if not known or len(files[split]) != 1:
                check_original(where, source)
            verify(f"{where}: {label(files[split][0])}", files[split][0], [known[split]])
    arrays = {}
    for split in ("train", "test"):
        found = columns(where, files[split], label=hub.label)
        for number, one in enumerate(found.classes or ()):
            if one in classes and number != classes.index(one):
                right = classes.index(one)
                raise UserError(
                    f"{where}: {split}: the label {number} is '{shown(one)}', but {right} should be; get {hub.repository} again"
                )
        images = []
        for number, data in enumerate(parquet.images(where, files[split], found.data, found.name)):
            try:
                images.append(decode_exact(data, side))
            except ValueError as error:
                raise UserError(unusable(where, f"{split} row {number}", error)) from error
        if not images:
            raise UserError(f"{where}: {split}: there are no images in it; get it again")
        labels = [value for (value,) in parquet.rows(where, files[split], [found.label])]
        check_numbers(where, split, labels)
        arrays[split] = np.stack(images), np.array(labels, np.int64)
    return arrays, f"{hub.repository}'s parquet files ({'sha256 verified' if source.original else 'not verified'})"


def check_numbers(where: str, split: str, labels: Iterable[int | str | None]) -> None:
    """UserError for a label that is no number from 0."""
    if wrong := [label for label in labels if not isinstance(label, int) or label < 0]:
        raise UserError(f"{where}: {split}: the label {shown(str(wrong[0]))} is none; get all files again")


def file_names(paths: Sequence[str | None], labels: Sequence[int | str | None]) -> list[str] | None:
    """The images' file names if they all have one that is unique in its class, else None."""
    files = [PurePosixPath((path or "").replace("\\", "/")).name for path in paths]
    spelt = {(label, same_spelling(file)) for label, file in zip(labels, files, strict=True)}
    return files if all(files) and len(spelt) == len(files) else None
