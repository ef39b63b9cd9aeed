"""A table of images."""

import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from sslpairs.config.sources.csv import CSVSettings
from sslpairs.data.archives import IMAGE_SUFFIXES, members, telling_errors
from sslpairs.data.decoding import MAX_BYTES
from sslpairs.data.memory import in_bytes
from sslpairs.data.names import same_spelling, shown
from sslpairs.data.progress import say
from sslpairs.data.sources import UNLABELLED, Entry, Opened, expanded
from sslpairs.data.splits import Places, held_out, limited, test_split
from sslpairs.data.tables import Row, read_table, table_in
from sslpairs.errors import UserError

Rows = dict[str, Row]
"""Canonical path -> row."""


def open_source(name: str, source: CSVSettings, path: Path) -> Opened:
    """Reads the table, and checks that its images are there. They are ordered by their paths from the folder or archive of images."""
    where = f"data set '{name}': {shown(str(path))}"
    with telling_errors(where):
        table = table_in(where, path)
        images = table.parent if source.images is None else table.parent / expanded(name, source.images, "images")
        there = images.exists()
    where = f"data set '{name}': {shown(str(table))}"
    if not there:
        raise UserError(
            f"{where}: there is no folder or archive {shown(str(images))}; correct 'images' under its source"
        )
    found = list(read_table(where, table, source))
    if not found:
        raise UserError(f"{where}: there are no rows below its first line; add one for each image")
    if not any("/" in row.path for row in found):  # a table from Windows
        found = [row._replace(path=row.path.replace("\\", "/")) for row in found]
    rows = _distinct(where, found, images)
    rows = _chosen(name, where, source, rows)
    classes, places = _labelled(name, where, rows)
    files = _located(name, where, source, images, rows)
    limits = {"train": source.train_per_class, "test": source.test_per_class}
    places = limited(places, limits)
    counts = Counter(split for split, _ in places.values())
    return Opened(
        where,
        classes,
        entries=partial(_entries, f"data set '{name}': {shown(str(images))}", images, files, places),
        counted={split: counts[split] for split in ("train", "test")},
        storage=source.storage,
        form=table.name,
    )


# --- the table --------------------------------------------------------------------------------------------------------


def _distinct(where: str, found: list[Row], images: Path) -> Rows:
    """Rows by canonical path: the one from ``images``, where there is one, so that names of folders above it do not matter."""
    packed = not images.is_dir()
    root = os.path.join(os.path.abspath(images), "")
    rows: Rows = {}
    for row in found:
        if packed:
            path = posixpath.normpath(row.path)
            if path.startswith(("/", "..")):
                raise UserError(
                    f"{where}: line {row.line}: {shown(row.path)} points outside the archive {shown(images.name)}; correct that line"
                )
        else:
            whole = os.path.normpath(os.path.join(root, row.path))
            if not whole.startswith(root):  # its name, and so the order of the images, would differ between machines
                raise UserError(
                    f"{where}: line {row.line}: {shown(row.path)} is outside the folder {shown(str(images))}; set 'images' under its "
                    "source to a folder that holds all images"
                )
            path = whole[len(root) :]
        path = same_spelling(path)
        if other := rows.get(path):
            why = (
                "an image that is trained on cannot be tested on"
                if other.split != row.split
                else "it would count twice"
                if other.label == row.label
                else f"with the label '{shown(other.label)}' there and '{shown(row.label)}' here"
            )
            raise UserError(
                f"{where}: line {row.line}: {shown(row.path)} is in line {other.line} too, {why}; remove one of them"
            )
        rows[path] = row
    return rows


def _chosen(name: str, where: str, source: CSVSettings, rows: Rows) -> Rows:
    """The rows to train and to test on, in the splits train and test; the others are left out, and reported."""
    splits = Counter(row.split for row in rows.values())
    tested = test_split(where, source, splits)
    if not splits["train"]:
        raise UserError(f"{where}: no row is of the split train; correct its splits")
    for split, count in splits.items():
        if split not in ("train", tested):
            say(f"{name}: the {split} split is not used ({count:,} images)")
    if tested:
        used = ((path, row) for path, row in rows.items() if row.split in ("train", tested))
        return {path: row._replace(split="train" if row.split == "train" else "test") for path, row in used}
    names = sorted(path for path, row in rows.items() if row.split == "train")
    labels = [rows[path].label for path in names]
    numbers = {label: number for number, label in enumerate(sorted(set(labels) - {""}))} | {"": UNLABELLED}
    mask = held_out(names, np.array([numbers[label] for label in labels], np.int64), source.held_out, source.part)
    return {path: rows[path]._replace(split="test" if out else "train") for path, out in zip(names, mask, strict=True)}


def _labelled(name: str, where: str, rows: Rows) -> tuple[list[str], Places]:
    """Classes, and split and label of each image. UserError for a class that only the test split has: nothing is learnt about it."""
    train = {row.label for row in rows.values() if row.split == "train"} - {""}
    test: dict[str, int] = {}
    for row in rows.values():
        if row.split == "test":
            test.setdefault(row.label, row.line)
    if not train:
        raise UserError(
            f"{where}: no image to train on has a label; add labels, or correct 'label_column' under its source"
        )
    if not test:
        raise UserError(f"{where}: there is no image to test on; add some, or increase 'held_out' under its source")
    if unknown := sorted(test.keys() - train, key=test.__getitem__):
        raise UserError(
            f"{where}: line {test[unknown[0]]}: the class '{shown(unknown[0])}' is tested on, but not trained on ({len(unknown):,} "
            f"of {len(test):,} classes); add some of its images to train, or remove its rows"
        )
    classes = sorted(train)
    if len(classes) == 1:
        say(
            f"warning: {where} has only one class, '{shown(classes[0])}': every accuracy will be 100 % and mean nothing"
        )
    if untested := len(classes) - len(test):
        say(f"{name}: {untested:,} of {len(classes):,} classes have no test images")
    labels = {label: number for number, label in enumerate(classes)} | {"": UNLABELLED}
    return classes, {path: (row.split, labels[row.label]) for path, row in rows.items()}


# --- the images -------------------------------------------------------------------------------------------------------


def _located(name: str, where: str, source: CSVSettings, images: Path, rows: Rows) -> dict[str, str]:
    """What is to be read for each canonical path: a file, or the name in the archive. UserError if one is not there."""
    say(f"{name}: looking for its images in {shown(images.name)}")
    find = _finder(f"data set '{name}': {shown(str(images))}", images, rows)
    files = {path: found for path, row in rows.items() if (found := find(row.path))}
    absent = [row for path, row in rows.items() if path not in files]
    if not absent:
        return files
    first = absent[0]
    more = f" (nor are those of {len(absent) - 1:,} more lines)" if len(absent) > 1 else ""
    remedy = "add it, or correct 'images' or 'path_column' under its source"
    if suffix := next((s for s in sorted(IMAGE_SUFFIXES) if find(first.path + s)), None):
        template = source.path_column if "{" in source.path_column else f"{{{source.path_column}}}"
        remedy = f"write path_column: '{template}{suffix}'"
    raise UserError(
        f"{where}: line {first.line}: {shown(first.path)} is not a file in {shown(str(images))}{more}; {remedy}"
    )


def _finder(where: str, images: Path, rows: Rows) -> Callable[[str], str | None]:
    """From a path in the table to what is to be read, whichever way accents are encoded."""
    if images.is_dir():
        root = str(images)

        def in_folder(path: str) -> str | None:
            spellings = [path] if path.isascii() else [path, *(unicodedata.normalize(f, path) for f in ("NFC", "NFD"))]
            files = (os.path.join(root, spelling) for spelling in spellings)
            return next((file for file in files if os.path.isfile(file)), None)

        return in_folder
    names = {same_spelling(member.name): member.name for member in members(where, images) if member.kind == "file"}
    tops = {name.partition("/")[0] for name in names}
    wrapper = f"{tops.pop()}/" if len(tops) == 1 and not names.keys() & rows.keys() else ""
    return lambda path: names.get(same_spelling(wrapper + posixpath.normpath(path)))


def _entries(where: str, images: Path, files: dict[str, str], places: Places) -> Iterator[Entry]:
    if images.is_dir():
        for path, (split, label) in places.items():
            yield Entry(split, label, path, _bytes(where, files[path]))
        return
    unread = {files[path]: path for path in places}
    for member in members(where, images, unread.copy()):
        if member.data is not None and (path := unread.pop(member.name, None)):
            yield Entry(*places[path], path, member.data)
    if unread:
        raise UserError(f"{where}: {shown(min(unread))} disappeared while it was being read; run the command again")


def _bytes(where: str, path: str) -> bytes:
    with telling_errors(where), open(path, "rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > MAX_BYTES:
            raise UserError(
                f"{where}: {shown(path)} has {in_bytes(size)}; an image file may have at most {in_bytes(MAX_BYTES)}; replace it"
            )
        return file.read()
