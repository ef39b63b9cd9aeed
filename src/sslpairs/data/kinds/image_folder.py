"""A folder, or an archive of it, with a folder of images for each class."""

import os
import re
import stat
from pathlib import Path

import numpy as np

from sslpairs.config.sources.image_folder import ImageFolderSettings
from sslpairs.data.archives import SUFFIXES, Member, members
from sslpairs.data.decoding import decode
from sslpairs.data.layout import listing
from sslpairs.data.listed import Listed, encoded, unusable
from sslpairs.data.memory import free_memory, in_bytes
from sslpairs.data.names import shown
from sslpairs.data.progress import say
from sslpairs.data.sources import Opened
from sslpairs.errors import UserError
from sslpairs.files import sha256_file


def source_path(name: str, source: ImageFolderSettings, root: Path) -> Path:
    """The folder or archive at ``source.path``: ~ and $VARIABLES expanded, relative to ``root``."""
    text = os.path.expandvars(source.path)
    if unset := re.search(r"\$\w+|\$\{\w+\}", text):
        raise UserError(
            f"data set '{name}': path '{source.path}': the environment variable {unset[0]} is not set; "
            "set it, or write the path out in config/datasets.yaml"
        )
    return root / os.path.expanduser(text)


def open_source(name: str, source: ImageFolderSettings, root: Path) -> Opened:
    """First pass over the files: reports every layout error as a UserError. Decoding is the second pass."""
    listed = _list_images(name, source, root)
    return Opened(
        listed.where, listed.classes, listed.labels, lambda: _decoded(name, source, listed), listed, source.storage
    )


def _list_images(name: str, source: ImageFolderSettings, root: Path) -> Listed:
    path = source_path(name, source, root)
    where = f"data set '{name}': {shown(str(path))}"
    _check_file(where, path, source)
    say(f"{name}: reading the list of files in {shown(path.name)}")
    listed = listing(where, members(where, path))
    classes = list(listed["train"])
    if len(classes) == 1:
        say(
            f"warning: {where} has only one class, '{classes[0]}': every accuracy will be 100 % and mean nothing; "
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


def _decoded(name: str, source: ImageFolderSettings, listed: Listed) -> dict[str, np.ndarray]:
    needed = sum(map(len, listed.labels.values())) * source.channels * source.size**2
    if needed > (free := free_memory()):
        raise UserError(
            f"{listed.where}: its images take {in_bytes(needed)} of memory while they are prepared, but only {in_bytes(free)} are free; "
            "set 'storage: files' under its source in config/datasets.yaml to keep them encoded"
        )
    images = {
        split: np.empty((len(labels), source.channels, source.size, source.size), np.uint8)
        for split, labels in listed.labels.items()
    }
    for split, index, member in encoded(name, listed, "decoding"):
        images[split][index] = _decode(listed.where, member, source.size, source.channels)
    return images


def _check_file(where: str, path: Path, source: ImageFolderSettings) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        link = f" (it is a link to {shown(os.readlink(path))})" if path.is_symlink() else ""
        raise UserError(
            f"{where}: there is no such file or folder{link}; put the data there, or correct 'path' in config/datasets.yaml"
        ) from None
    except (OSError, ValueError) as error:  # circular links, an invalid file name, a folder of another user
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
    if source.sha256 and (actual := sha256_file(path)) != source.sha256:
        raise UserError(
            f"{where} has sha256 {actual}, but config/datasets.yaml expects {source.sha256}\n"
            "get the file again, or correct 'sha256' there if this file is the right one"
        )


def _limit(name: str, by_class: dict[str, list[str]], split: str, limit: int | None) -> None:
    """Keep the first ``limit`` images of each class; classes with fewer keep them all, and are reported."""
    if limit is None:
        return
    short = [f"{c} {len(files)}" for c, files in by_class.items() if len(files) < limit]
    if short:
        more = f" and {len(short) - 5} more" if len(short) > 5 else ""
        say(f"{name}: {split}: fewer than {limit} images in {', '.join(short[:5])}{more}; all of them are used")
    for c in by_class:
        by_class[c] = by_class[c][:limit]


def _decode(where: str, member: Member, size: int, channels: int) -> np.ndarray:
    try:
        return decode(member.data, size, channels)
    except ValueError as error:
        raise UserError(unusable(where, member.name, error)) from error
