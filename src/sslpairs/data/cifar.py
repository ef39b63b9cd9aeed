"""CIFAR-10 and CIFAR-100 in all their forms: the authors' archives and their folders, parquet files, folders of PNGs.

The order of a class is that of the sha256 of its images' pixels, since every form has its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PublishedSource
from sslpairs.data import parquet
from sslpairs.data.archives import members
from sslpairs.data.columns import columns
from sslpairs.data.decoding import decode
from sslpairs.data.layout import listing
from sslpairs.data.names import shown
from sslpairs.data.official import blocks, by_pixels, check_md5, first, first_per_class, read_exact, verified_by, verify
from sslpairs.data.shards import find, label
from sslpairs.data.sources import UNLABELLED, Opened, unusable
from sslpairs.data.unpickle import unpickle
from sslpairs.errors import UserError

SIDE = 32
PIXELS = 3 * SIDE * SIDE
Arrays = dict[str, tuple[np.ndarray, np.ndarray]]
"""Split -> images uint8 ``[N, 3, 32, 32]`` and labels int64 ``[N]``."""


@dataclass(frozen=True)
class Parquet:
    """A copy on the Hugging Face Hub, as PNG files in parquet files: the same pixels in another order."""

    repository: str
    """'<org>/<name>'."""
    folder: str
    """The folder of its files in the repository."""
    label: str
    """The column of the labels."""
    files: Mapping[str, RemoteFile] | None = None
    """Split -> its only file, if the digests are on record."""


@dataclass(frozen=True)
class Forms:
    """What the forms of one of the two data sets look like."""

    title: str
    classes: list[str]
    binary: RemoteFile
    python: RemoteFile
    binary_folder: str
    python_folder: str
    members: dict[str, dict[str, str | None]]
    """Split -> the members of the binary archive, with the md5 on record."""
    batches: dict[str, dict[str, str]]
    """Split -> the members of the Python archive, with their md5."""
    images: dict[str, int]
    """Split -> number of images, equal in all members of the binary archive."""
    label_bytes: int
    """Bytes before the pixels of a record; the last one is the label."""
    label_key: str
    """Key of the labels in the pickles."""
    hub: Parquet | None = None
    """The copy on the Hugging Face Hub."""


def open_cifar(name: str, source: PublishedSource, path: Path, forms: Forms) -> Opened:
    """Find the form in which the data lie at ``path``, and read it."""
    where = f"data set '{name}': {shown(str(path))}"
    if path.suffix in parquet.SUFFIXES and path.is_file():
        raise UserError(f"{where}: this is one of the files of a copy; give the path of the folder that has them all")
    if path.is_file():
        arrays, form = _archive(f"data set '{name}': {shown(str(path))}", path, source, forms)
    elif archive := first(path, (forms.binary.name, forms.python.name, f"{forms.python_folder}-target_archive")):
        arrays, form = _archive(f"data set '{name}': {shown(str(archive))}", archive, source, forms)
    elif folder := first(path, (forms.binary_folder,)):
        arrays, form = _binary(where, folder, source, forms), f"{folder.name}/ ({_digests(source, forms.members)})"
    elif folder := first(path, (forms.python_folder,)):
        arrays, form = _python(where, folder, source, forms), f"{folder.name}/ ({_digests(source, forms.batches)})"
    elif forms.hub and (folder := _hub_folder(path, forms.hub)):
        arrays, form = _parquet(f"data set '{name}': {shown(str(folder))}", folder, source, forms.hub)
    elif first(path, ("trainLabels.csv",)):
        raise UserError(
            f"{where}: this is Kaggle's copy, whose test images have no labels; get {forms.binary.name}: sslpairs fetch {name}"
        )
    elif first(path, ("*.mat",)):
        raise UserError(f"{where}: the .mat files are not read; get {forms.binary.name}: sslpairs fetch {name}")
    elif first(path, ("train",)):
        arrays, form = _folders(where, path, source, forms), "class folders"
    else:
        raise UserError(
            f"{where}: none of the forms of {forms.title} is in it; give the path of {forms.binary.name}, {forms.python.name}, "
            f"{forms.binary_folder}/, {forms.python_folder}/ or of a folder that holds one of them (docs/data.md)"
        )
    return _ordered(where, source, forms, arrays, form)


def _digests(source: PublishedSource, members: dict[str, dict[str, str | None]]) -> str:
    if not source.original:
        return "not verified"
    stated = all(digest for split in members.values() for digest in split.values())
    return "md5 verified" if stated else "sizes verified, no digests on record"


def _archive(where: str, path: Path, source: PublishedSource, forms: Forms) -> tuple[Arrays, str]:
    if source.original:
        file = verify(where, path, [forms.binary, forms.python])
        read = _binary if file is forms.binary else _python
        return read(where, path, source.model_copy(update={"original": False}), forms), verified_by(file)
    binary = any(member.name.endswith(".bin") for member in members(where, path))
    return (_binary if binary else _python)(where, path, source, forms), f"{path.name} (not verified)"


def _binary(where: str, path: Path, source: PublishedSource, forms: Forms) -> Arrays:
    """Records of label bytes, then 1,024 red, green and blue bytes, row by row."""
    record = forms.label_bytes + PIXELS
    sizes = {
        name: forms.images[split] // len(names) * record for split, names in forms.members.items() for name in names
    }
    found = read_exact(where, path, sizes)
    arrays = {}
    for split, names in forms.members.items():
        for name, md5 in names.items():
            if source.original and md5:
                check_md5(where, name, found[name], md5)
        records = np.concatenate([found.pop(name) for name in names]).reshape(-1, record)
        labels = records[:, forms.label_bytes - 1].astype(np.int64)
        arrays[split] = records[:, forms.label_bytes :].reshape(-1, 3, SIDE, SIDE), labels
    return arrays


def _python(where: str, path: Path, source: PublishedSource, forms: Forms) -> Arrays:
    """Pickled batches: a map with pixels uint8 ``[N, 3072]``, in the order of the binary form, and a list of labels."""
    found = read_exact(where, path, {name: None for names in forms.batches.values() for name in names})
    arrays = {}
    for split, names in forms.batches.items():
        images, labels = [], []
        for name, md5 in names.items():
            data = found.pop(name)
            if source.original:
                check_md5(where, name, data, md5)
            try:
                batch = unpickle(data.tobytes())
                pixels = np.ascontiguousarray(batch["data"]).reshape(-1, 3, SIDE, SIDE)
                classes = np.array(batch[forms.label_key], np.int64)
                if pixels.dtype != np.uint8 or classes.shape != (len(pixels),):
                    raise ValueError(f"{pixels.dtype} pixels and {classes.shape} labels")
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{where}: {name}: {error}; get it again") from error
            images.append(pixels)
            labels.append(classes)
        arrays[split] = np.concatenate(images), np.concatenate(labels)
    return arrays


def _hub_folder(path: Path, hub: Parquet) -> Path | None:
    """The folder at this path, or in it, that holds the Hub's copy: in the Hub's cache, in that of ``datasets``, or by itself."""
    names = f"datasets--{hub.repository.replace('/', '--')}", hub.repository.replace("/", "___")
    inside = ("snapshots", "*.parquet", "*.arrow", *(f"{inner}/*.parquet" for inner in (hub.folder, "data", "train")))
    if path.name in names or any(next(path.glob(pattern), None) for pattern in inside):
        return path
    found = [
        *(path / name for name in names if (path / name).is_dir()),
        *(f.parent for f in path.glob(f"*/{hub.folder}/*.parquet")),
    ]
    return min(found, default=None)


def _parquet(where: str, path: Path, source: PublishedSource, hub: Parquet) -> tuple[Arrays, str]:
    """Rows of a PNG file and a label."""
    parquet.library(where)
    files = find(where, path, parquet.SUFFIXES)
    if "test" not in files:
        raise UserError(f"{where}: there is no test split in it; get all files of {hub.repository}")
    if source.original:
        known = hub.files if files["train"][0].suffix == ".parquet" else None
        for split in ("train", "test"):
            if not known or len(files[split]) != 1:
                raise UserError(
                    f"{where}: these are not the authors' files, and there is no digest to compare them with\n"
                    "set 'original: false' under its source in config/datasets.yaml to use them as they are"
                )
            verify(f"{where}: {label(files[split][0])}", files[split][0], [known[split]])
    arrays = {}
    for split in ("train", "test"):
        found = columns(where, files[split], label=hub.label)
        images = []
        for number, data in enumerate(parquet.images(where, files[split], found.data, found.name)):
            try:
                images.append(decode(data, SIDE, 3))
            except ValueError as error:
                raise UserError(unusable(where, f"{split} row {number}", error)) from error
        labels = [UNLABELLED if value is None else value for (value,) in parquet.rows(where, files[split], [hub.label])]
        arrays[split] = np.stack(images), np.array(labels, np.int64)
    return arrays, f"{hub.repository}'s parquet files ({'sha256 verified' if source.original else 'not verified'})"


def _folders(where: str, path: Path, source: PublishedSource, forms: Forms) -> Arrays:
    """A copy as PNG files in class folders. Nothing is on record to verify it with."""
    if source.original:
        raise UserError(
            f"{where}: these are class folders, not the authors' files, and there is no digest to compare them with\n"
            "set 'original: false' under its source in config/datasets.yaml to use them as they are"
        )
    listed = listing(where, members(where, path))
    if list(listed["train"]) != forms.classes:
        raise UserError(f"{where}: its classes are not those of {forms.title}; use kind: image-folder for other data")
    places = {
        file: (split, label) for split, c in listed.items() for label, files in enumerate(c.values()) for file in files
    }
    images, labels = ({split: [] for split in listed} for _ in range(2))
    for member in members(where, path, places):
        if member.data is not None:
            split, label = places[member.name]
            try:
                images[split].append(decode(member.data, SIDE, 3))
            except ValueError as error:
                raise UserError(unusable(where, member.name, error)) from error
            labels[split].append(label)
    return {split: (np.stack(images[split]), np.array(labels[split], np.int64)) for split in listed}


def _ordered(where: str, source: PublishedSource, forms: Forms, arrays: Arrays, form: str) -> Opened:
    limits = {"train": source.train_per_class, "test": source.test_per_class}
    rows, labels = {}, {}
    for split, (images, found) in arrays.items():
        if len(found) and (found.min() < 0 or found.max() >= len(forms.classes)):
            raise UserError(f"{where}: {split}: labels from {found.min()} to {found.max()}; get it again")
        order = by_pixels(found, images)
        rows[split] = order[first_per_class(found[order], limits[split])]
        labels[split] = found[rows[split]]
    return Opened(where, forms.classes, labels, lambda split: blocks(arrays[split][0], rows[split]), form=form)
