"""CIFAR-10 and CIFAR-100 in all their forms: the authors' archives, their unpacked folders, folders of PNGs.

The order of a class is that of the sha256 of its images' pixels, since every form has its own.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PublishedSource
from sslpairs.data.archives import SPLIT_FOLDERS, Member, is_image, members
from sslpairs.data.decoding import decode_exact
from sslpairs.data.hub import Hub, hub_folder, hub_pixels
from sslpairs.data.layout import listing
from sslpairs.data.names import shown
from sslpairs.data.official import check_md5, first, read_exact, verified_by, verify
from sslpairs.data.parquet import SUFFIXES
from sslpairs.data.pixels import Arrays, in_order_of_pixels
from sslpairs.data.progress import say
from sslpairs.data.sources import Opened, get_instead, unusable
from sslpairs.data.unpickle import unpickle
from sslpairs.errors import UserError

SIDE = 32
PIXELS = 3 * SIDE * SIDE
LARGEST = 200_000_000
"""Maximum bytes of a pickle; the largest has 155,249,918."""


@dataclass(frozen=True)
class Forms:
    """What the forms of one of the two data sets look like."""

    title: str
    classes: list[str]
    binary: RemoteFile
    python: RemoteFile
    binary_folder: str
    python_folder: str
    folder: str
    """Name of the folder that holds folders of PNGs."""
    members: dict[str, dict[str, str]]
    """Split -> the members of the binary archive, with their md5."""
    batches: dict[str, dict[str, str]]
    """Split -> the members of the Python archive, with their md5."""
    images: dict[str, int]
    """Split -> number of images, equal in all members of the binary archive."""
    label_bytes: int
    """Bytes before the pixels of a record; the last one is the label."""
    label_key: str
    """Key of the labels in the pickles."""
    hub: Hub | None = None
    """The copy on the Hugging Face Hub."""


def open_cifar(name: str, source: PublishedSource, path: Path, forms: Forms) -> Opened:
    """Find the form in which the data lie at ``path``, and read it. UserError if there is none, or if it cannot be used."""

    def named(found: Path) -> str:
        return f"data set '{name}': {shown(str(found))}"

    digests = "md5 verified" if source.original else "not verified"
    _refuse(named(path), name, path, forms)
    if path.is_file() and path.suffix not in SUFFIXES:
        arrays, form = _archive(named(path), path, source, forms)
    elif archive := first(path, (forms.binary.name, forms.python.name, f"{forms.python_folder}-target_archive")):
        arrays, form = _archive(named(archive), archive, source, forms)
    elif folder := first(path, (forms.binary_folder,)):
        arrays, form = _binary(named(folder), folder, source, forms), f"{folder.name}/ ({digests})"
    elif folder := first(path, (forms.python_folder,)):
        arrays, form = _python(named(folder), folder, source, forms), f"{folder.name}/ ({digests})"
    elif forms.hub and (folder := hub_folder(named(path), path, forms.hub)):
        arrays, form = hub_pixels(named(folder), source, folder, forms.hub, SIDE, forms.classes)
    elif first(folder := first(path, (forms.folder,)) or path, ("train",)):
        arrays, form = _folders(named(folder), folder, source, forms), "class folders (not verified)"
    else:
        raise UserError(
            f"{named(path)}: none of the forms of {forms.title} is in it; give the path of {forms.binary.name}, {forms.python.name}, "
            f"{forms.binary_folder}/, {forms.python_folder}/ or of a folder that holds one of them (docs/data.md)"
        )
    return in_order_of_pixels(named(path), source, forms.classes, arrays, form)


def _refuse(where: str, name: str, path: Path, forms: Forms) -> None:
    """UserError for forms that are recognised but not read, unless one that is read lies beside them."""
    read = (forms.binary.name, forms.python.name, f"{forms.python_folder}-target_archive")
    if first(path, (*read, forms.binary_folder, forms.python_folder)):
        return
    path = first(path, (forms.folder,)) or path
    if first(path, ("trainLabels.csv",)):
        what = "this is Kaggle's copy, whose test images have no labels"
    elif first(path, ("cifar-10*-matlab*", "cifar-10-batches-mat", "data_batch_1.mat")):
        what = "the .mat files are not read"
    else:
        return
    raise UserError(f"{where}: {what}; {get_instead(name, forms.binary.name)}")


def _archive(where: str, path: Path, source: PublishedSource, forms: Forms) -> tuple[Arrays, str]:
    if source.original:
        file = verify(where, path, [forms.binary, forms.python])
        read = _binary if file is forms.binary else _python
        return read(where, path, source, forms, inside=False), verified_by(file)
    names = [member.name for member in members(where, path) if member.kind == "file"]
    binary, pictures = any(name.endswith(".bin") for name in names), any(map(is_image, names))
    read = _binary if binary else _folders if pictures else _python
    return read(where, path, source, forms), f"{path.name} (not verified)"


def _binary(where: str, path: Path, source: PublishedSource, forms: Forms, inside: bool = True) -> Arrays:
    """Records of label bytes, then 1,024 red, green and blue bytes, row by row; ``inside``: compare the digests of the members."""
    record = forms.label_bytes + PIXELS
    sizes = {
        name: forms.images[split] // len(names) * record for split, names in forms.members.items() for name in names
    }
    found = read_exact(where, path, sizes if source.original else dict.fromkeys(sizes), LARGEST)
    arrays = {}
    for split, names in forms.members.items():
        for name, md5 in names.items():
            if source.original and inside:
                check_md5(where, name, found[name], md5)
            if len(found[name]) % record:
                raise UserError(
                    f"{where}: {name} has {len(found[name]):,} bytes, no whole number of images of {record:,}; get it again"
                )
        records = np.concatenate([found.pop(name) for name in names]).reshape(-1, record)
        labels = records[:, forms.label_bytes - 1].astype(np.int64)
        arrays[split] = records[:, forms.label_bytes :].reshape(-1, 3, SIDE, SIDE), labels
    return arrays


def _python(where: str, path: Path, source: PublishedSource, forms: Forms, inside: bool = True) -> Arrays:
    """Pickled batches: a map with pixels uint8 ``[N, 3072]``, channels as in the binary form, and a list of labels.

    Only the authors' own are read, whatever ``source.original`` is, since pickles are programs.
    """
    found = read_exact(where, path, {name: None for names in forms.batches.values() for name in names}, LARGEST)
    arrays = {}
    for split, names in forms.batches.items():
        images, labels = [], []
        for name, md5 in names.items():
            data = found.pop(name)
            if inside and (actual := hashlib.md5(data, usedforsecurity=False).hexdigest()) != md5:
                raise UserError(
                    f"{where}: {name} is not the authors' file: md5 {actual}, expected {md5}\npickles of others are never read: get it "
                    f"again, or use {forms.binary.name}, folders of images, or kind: numpy"
                )
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


def _folders(where: str, path: Path, source: PublishedSource, forms: Forms) -> Arrays:
    """A copy as PNG files in class folders. Nothing is on record to verify it with."""
    if source.original:
        raise UserError(
            f"{where}: these are class folders, not the authors' files, and there is no digest to compare them with\n"
            "set 'original: false' under its source in config/datasets.yaml to use them as they are"
        )
    stored = dict(_flat(list(members(where, path, depth=5)), set(forms.classes)))
    listed = listing(where, (member._replace(name=name) for name, member in stored.items()))
    listed = {"train": listed["train"], "test": listed.get("test") or listed.get("val") or {}}
    if any(list(by_class) != forms.classes for by_class in listed.values()):
        raise UserError(f"{where}: its classes are not those of {forms.title}; use kind: image-folder for other data")
    places = {
        stored[file].name: (split, label)
        for split, by_class in listed.items()
        for label, files in enumerate(by_class.values())
        for file in files
    }
    say(f"{where}: decoding {len(places):,} images")
    images, labels = ({split: [] for split in listed} for _ in range(2))
    for member in members(where, path, places, depth=5):
        if member.data is not None:
            split, label = places[member.name]
            try:
                images[split].append(decode_exact(member.data, SIDE))
            except ValueError as error:
                raise UserError(unusable(where, member.name, error)) from error
            labels[split].append(label)
    return {split: (np.stack(images[split]), np.array(labels[split], np.int64)) for split in listed}


def _flat(found: list[Member], classes: set[str]) -> Iterator[tuple[str, Member]]:
    """The members by their names, without superclasses: fast.ai's CIFAR-100 has ``train/<superclass>/<class>/*``."""
    above = {member.name.rpartition("/")[0] for member in found if member.name.rpartition("/")[2] in classes}
    for member in found:
        parts = member.name.split("/")
        at = next((i for i, part in enumerate(parts[:2]) if part in SPLIT_FOLDERS), len(parts)) + 1
        if parts[at + 1 : at + 2] and parts[at + 1] in classes and parts[at] not in classes:
            del parts[at]
        elif len(parts) == at + 1 and member.name in above:
            continue
        yield "/".join(parts), member
