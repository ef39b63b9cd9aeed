"""A folder, or an archive of it, with a folder of images for each class."""

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sslpairs.config.sources.image_folder import ImageFolderSettings
from sslpairs.data.archives import SUFFIXES, members
from sslpairs.data.layout import listing
from sslpairs.data.names import shown
from sslpairs.data.progress import say
from sslpairs.data.sources import Entry, Opened
from sslpairs.errors import UserError
from sslpairs.files import sha256_file


def open_source(name: str, source: ImageFolderSettings, path: Path) -> Opened:
    """First pass over the files: reports every layout error as a UserError. The second pass reads them."""
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
    places = {
        file: (split, label)
        for split, by_class in listed.items()
        for label, c in enumerate(classes)
        for file in by_class[c]
    }
    counts = {split: sum(map(len, by_class.values())) for split, by_class in listed.items()}
    entries = partial(_entries, where, path, places)
    return Opened(where, classes, entries=entries, counted=counts, storage=source.storage)


def _entries(where: str, path: Path, places: dict[str, tuple[str, int]]) -> Iterator[Entry]:
    unread = set(places)
    for member in members(where, path, places):
        if member.data is not None:
            yield Entry(*places[member.name], member.name, member.data)
            unread.discard(member.name)
    if unread:
        raise UserError(f"{where}: {shown(min(unread))} disappeared while it was being read; run the command again")


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
