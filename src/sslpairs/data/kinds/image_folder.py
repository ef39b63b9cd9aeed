"""A folder, or an archive of it, with a folder of images for each class."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from sslpairs.config.sources.image_folder import ImageFolderSettings
from sslpairs.data.archives import SUFFIXES, members
from sslpairs.data.layout import NO_CLASS, Listing, listing
from sslpairs.data.names import shown
from sslpairs.data.progress import say
from sslpairs.data.sources import UNLABELLED, Entry, Opened
from sslpairs.data.splits import held_out, test_split
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
    chosen = _splits(name, where, source, listed)
    for split, limit in (("train", source.train_per_class), ("test", source.test_per_class)):
        _limit(name, chosen[split], split, limit)
    numbers = {c: label for label, c in enumerate(classes)} | {NO_CLASS: UNLABELLED}
    places = {
        file: (split, numbers[c])
        for split, by_class in chosen.items()
        for c, files in by_class.items()
        for file in files
    }
    if source.unlabeled:
        places |= dict.fromkeys(listed["unlabeled"][NO_CLASS], ("train", UNLABELLED))
    counts = Counter(split for split, _ in places.values())
    entries = partial(_entries, where, path, places)
    return Opened(where, classes, entries=entries, counted=dict(counts), storage=source.storage)


def _splits(name: str, where: str, source: ImageFolderSettings, listed: Listing) -> Listing:
    """The images to train on and those to test on; says which splits and classes are left out."""
    tested_on = test_split(where, source, listed)
    if tested_on:
        chosen = {"train": listed["train"], "test": listed[tested_on]}
    else:
        files = [file for by_class in listed["train"].values() for file in by_class]
        labels = np.repeat(np.arange(len(listed["train"])), [len(by_class) for by_class in listed["train"].values()])
        names = [f"train/{'/'.join(file.split('/')[-2:])}" for file in files]  # without the name of a folder around it
        held = dict(zip(files, held_out(names, labels, source.held_out, source.part), strict=True))
        chosen = {
            split: {
                c: [file for file in by_class if held[file] == (split == "test")]
                for c, by_class in listed["train"].items()
            }
            for split in ("train", "test")
        }
    if unused := [f"{split}/" for split in listed if split not in ("train", tested_on) and split != "unlabeled"]:
        say(f"{name}: {' and '.join(unused)} not used ('test' and 'held_out' choose the images to test on)")
    if source.unlabeled and "unlabeled" not in listed:
        raise UserError(f"{where}: there is no unlabeled/ in it; add it, or remove 'unlabeled' under its source")
    if "unlabeled" in listed and not source.unlabeled:
        say(f"{name}: unlabeled/ is not used ('unlabeled: true' trains on it)")
    if absent := [c for c in listed["train"] if not chosen["test"].get(c)]:
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        say(
            f"{name}: no test images of {', '.join(absent[:5])}{more}: these classes are trained on, but never asked for"
        )
    return chosen


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
