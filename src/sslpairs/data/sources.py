"""Where images come from: scikit-learn's digits, or a folder or archive of images.

Gives uint8 arrays of one size, or the encoded files one after the other, and decodes these in one way for all.
"""

import hashlib
import os
import re
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from sslpairs.config.datasets import Dataset, Digits, ImageFolder
from sslpairs.data.archives import SUFFIXES, Member, members
from sslpairs.data.decoding import decode
from sslpairs.data.layout import listing
from sslpairs.data.memory import free_memory, in_bytes
from sslpairs.data.names import shown
from sslpairs.errors import UserError
from sslpairs.files import sha256_file

T = TypeVar("T")
Arrays = tuple[np.ndarray, np.ndarray]
"""Images, uint8 ``[N, C, H, W]``, and labels, int64 ``[N]``."""


@dataclass(frozen=True)
class Listed:
    """What is to be read of a folder or archive."""

    where: str
    """How errors name it."""
    path: Path
    classes: list[str]
    files: dict[str, list[str]]
    """Split -> the names of its images, in the order of their labels."""
    labels: dict[str, np.ndarray]
    """Split -> int64 ``[N]``."""


def read(name: str, dataset: Dataset, root: Path, listed: Listed | None = None) -> tuple[dict[str, Arrays], list[str]]:
    """The images and labels of the splits ``train`` and ``test``, and the names of the classes.

    ``listed`` spares a second look at an image folder. Progress goes to stderr. Raises UserError, naming the data set
    and the file, for a source that is absent, damaged or laid out in another way than ``train/<class>/*`` and
    ``test/<class>/*`` (or ``val/<class>/*``), and for arrays that this machine's memory does not hold.
    """
    start = time.monotonic()
    source = dataset.source
    if isinstance(source, Digits):
        splits, classes = _digits(source)
    else:
        listed = listed or list_images(name, source, root)
        splits, classes = _image_folder(name, source, listed), listed.classes
    say_read(
        name,
        {split: len(labels) for split, (_, labels) in splits.items()},
        classes,
        splits["train"][0].shape[1:],
        start,
    )
    return splits, classes


def say_read(name: str, counts: dict[str, int], classes: list[str], shape: Sequence[int], start: float) -> None:
    """One line on what was read since ``start`` (``time.monotonic()``)."""
    _say(
        f"{name}: read {counts['train']:,} training and {counts['test']:,} test images of {len(classes)} classes, "
        f"{' x '.join(map(str, shape))}, in {time.monotonic() - start:.0f} s"
    )


def source_path(name: str, source: ImageFolder, root: Path) -> Path:
    """The folder or archive that ``source.path`` means: ~ and $VARIABLES expanded, relative to ``root``."""
    text = os.path.expandvars(source.path)
    if unset := re.search(r"\$\w+|\$\{\w+\}", text):
        raise UserError(
            f"data set '{name}': path '{source.path}': the environment variable {unset[0]} is not set; "
            "set it, or write the path out in config/datasets.yaml"
        )
    return root / os.path.expanduser(text)


def is_here(name: str, dataset: Dataset, root: Path) -> bool:
    """Whether there is something to prepare the data set from."""
    return isinstance(dataset.source, Digits) or os.path.exists(source_path(name, dataset.source, root))


# ---------------------------------------------------------------------------------------------------------- digits


def _digits(source: Digits) -> tuple[dict[str, Arrays], list[str]]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    labels = bunch.target.astype(np.int64)
    images = enlarge_digits(bunch.images.astype(np.int64), source.size)[:, None]
    test = _test_indices(labels, source.test_per_class)
    train = np.setdiff1d(np.arange(len(labels)), test)
    return {"train": (images[train], labels[train]), "test": (images[test], labels[test])}, [str(n) for n in range(10)]


def _test_indices(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Sorted indices of the test images: in each class, the first ones in the order of a hash of their index.

    A hash, since no random generator promises the same stream in every version of its library.
    """

    def key(index: int) -> str:
        return hashlib.sha256(f"sslpairs digits {index}".encode()).hexdigest()

    chosen = [sorted(np.flatnonzero(labels == label).tolist(), key=key)[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))


def enlarge_digits(images: np.ndarray, size: int) -> np.ndarray:
    """Integer images ``[N, S, S]`` with values 0..16 as uint8 ``[N, size, size]`` with values 0..255; size >= S.

    Bilinear with half-pixel centres and repeated edges, as ``interpolate(align_corners=False)``, in integers:
    every weight is a fraction over 2 size, and the one rounding (half up) is at the end. So all machines agree.
    """
    side = images.shape[1]
    # Output pixel i lies at ((2i + 1) side - size) / (2 size) of the input.
    place = np.clip((2 * np.arange(size) + 1) * side - size, 0, 2 * size * (side - 1))
    low, weight = np.divmod(place, 2 * size)
    high = np.minimum(low + 1, side - 1)
    rows = images[:, low] * (2 * size - weight)[:, None] + images[:, high] * weight[:, None]
    both = rows[:, :, low] * (2 * size - weight) + rows[:, :, high] * weight
    whole = 16 * (2 * size) ** 2
    return ((2 * 255 * both + whole) // (2 * whole)).astype(np.uint8)


# ---------------------------------------------------------------------------------------------------- image folders


def list_images(name: str, source: ImageFolder, root: Path) -> Listed:
    """The first pass over a source: it finds every fault of the layout, as a UserError."""
    path = source_path(name, source, root)
    where = f"data set '{name}': {shown(str(path))}"
    _check_file(where, path, source)
    _say(f"{name}: reading the list of files in {shown(path.name)}")
    listed = listing(where, members(where, path))
    classes = list(listed["train"])
    if len(classes) == 1:
        _say(
            f"warning: {where} has only one class, '{classes[0]}': every accuracy will be 100 % and say nothing; "
            "put the images of each class into a folder of its own"
        )
    for split, limit in (("train", source.train_per_class), ("test", source.test_per_class)):
        _limit(name, listed[split], split, limit)
    labels = {
        split: np.repeat(np.arange(len(classes), dtype=np.int64), [len(by_class[c]) for c in classes])
        for split, by_class in listed.items()
    }
    files = {split: [file for c in classes for file in by_class[c]] for split, by_class in listed.items()}
    return Listed(where, path, classes, files, labels)


def encoded(name: str, listed: Listed, doing: str) -> Iterator[tuple[str, int, Member]]:
    """The second pass: split, place in the split and bytes of each listed image, in the order of storage.

    ``doing`` is the word that progress shows. UserError for a source that is damaged or changes meanwhile.
    """
    slots = {file: (split, place) for split, files in listed.files.items() for place, file in enumerate(files)}
    unread = set(slots)
    wanted = (member for member in members(listed.where, listed.path, slots) if member.data is not None)
    for member in track(wanted, len(slots), name, doing):
        yield *slots[member.name], member
        unread.discard(member.name)
    if unread:
        raise UserError(
            f"{listed.where}: {shown(min(unread))} disappeared while it was being read; run the command again"
        )


def _image_folder(name: str, source: ImageFolder, listed: Listed) -> dict[str, Arrays]:
    needed = sum(map(len, listed.labels.values())) * source.channels * source.size**2
    if needed > (free := free_memory()):
        raise UserError(
            f"{listed.where}: its images take {in_bytes(needed)} of memory while they are prepared, and {in_bytes(free)} are free; "
            "write 'storage: files' under its source in config/datasets.yaml, which keeps them encoded"
        )
    images = {
        split: np.empty((len(labels), source.channels, source.size, source.size), np.uint8)
        for split, labels in listed.labels.items()
    }
    for split, place, member in encoded(name, listed, "decoding"):
        images[split][place] = _decode(listed.where, member, source.size, source.channels)
    return {split: (images[split], labels) for split, labels in listed.labels.items()}


def _check_file(where: str, path: Path, source: ImageFolder) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        link = f" (it is a link to {shown(os.readlink(path))})" if path.is_symlink() else ""
        raise UserError(
            f"{where}: there is no such file or folder{link}; put the data there, or correct 'path' in config/datasets.yaml"
        ) from None
    except (OSError, ValueError) as error:  # a circle of links, a name that no file can have, a folder that is not ours
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{where} cannot be read ({reason}); correct that, or 'path' in config/datasets.yaml") from None
    if stat.S_ISDIR(mode):
        if source.sha256:
            raise UserError(f"{where} is a folder, and 'sha256' is for archives: remove it from config/datasets.yaml")
        return
    if not stat.S_ISREG(mode):
        raise UserError(
            f"{where} is a pipe, a socket or a device; give a folder or an archive as 'path' in config/datasets.yaml"
        )
    if not path.name.lower().endswith(SUFFIXES):
        raise UserError(f"{where} is neither a folder nor an archive of a known type; use one of {', '.join(SUFFIXES)}")
    if source.sha256 and (found := sha256_file(path)) != source.sha256:
        raise UserError(
            f"{where} has sha256 {found}, but config/datasets.yaml expects {source.sha256}\n"
            "get the file again, or correct 'sha256' there if this file is the right one"
        )


def _limit(name: str, by_class: dict[str, list[str]], split: str, limit: int | None) -> None:
    """Keep the first ``limit`` images of each class; a class that has fewer keeps them all, and that is said."""
    if limit is None:
        return
    short = [f"{c} {len(files)}" for c, files in by_class.items() if len(files) < limit]
    if short:
        more = f" and {len(short) - 5} more" if len(short) > 5 else ""
        _say(f"{name}: {split}: fewer than {limit} images in {', '.join(short[:5])}{more}; all of them are used")
    for c in by_class:
        by_class[c] = by_class[c][:limit]


def _decode(where: str, member: Member, size: int, channels: int) -> np.ndarray:
    try:
        return decode(member.data, size, channels)
    except ValueError as error:
        raise UserError(unusable(where, member.name, error)) from error


def unusable(where: str, file: str, reason: object) -> str:
    """What to say of a file of the source that cannot be decoded."""
    return f"{where}: {shown(file)} cannot be read as an image ({reason}); replace it or remove it"


# --------------------------------------------------------------------------------------------------------- progress


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def track(items: Iterable[T], total: int, name: str, doing: str) -> Iterator[T]:
    """Pass images through, showing how many of ``total`` are done: a bar in a terminal, else a line every 10 s."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, f"{name}: images", total, console=Console(stderr=True), transient=True)
        return
    _say(f"{name}: {doing} {total:,} images")
    said = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - said >= 10:
            _say(f"{name}: {done:,} of {total:,} images")
            said = time.monotonic()
        yield item
