"""Parquet files with a column of encoded images and one of labels.

The order of a class is that of the images' file names, where all of a split have names that are unique in their class, else that of
the rows; so a copy in other shards has the same content hash.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from sslpairs.config.sources.parquet import ParquetSettings
from sslpairs.data import parquet
from sslpairs.data.columns import Columns, columns
from sslpairs.data.hub import file_names
from sslpairs.data.labelled import TEST, UNUSED, chosen, counts, numbered
from sslpairs.data.names import same_spelling, shown
from sslpairs.data.progress import say
from sslpairs.data.shards import Splits, find
from sslpairs.data.sources import UNLABELLED, Entry, Opened
from sslpairs.data.splits import test_split
from sslpairs.errors import UserError


def open_source(name: str, source: ParquetSettings, path: Path) -> Opened:
    """First pass, over the labels and the names only: which images are used. The second pass reads these."""
    where = f"data set '{name}': {shown(str(path))}"
    parquet.need_pyarrow(where)
    files = find(where, path, parquet.SUFFIXES)
    all_files = [file for of_split in files.values() for file in of_split]
    table = columns(where, all_files, source.image_column, source.label_column)
    say(f"{name}: reading the labels in {len(all_files)} files")
    raw, names = {}, {}
    for split, of_split in files.items():
        asked = [table.label, *([table.name] if table.name else [])]
        found = list(zip(*parquet.rows(where, of_split, asked), strict=True)) or [()] * len(asked)
        raw[split], names[split] = found[0], found[1] if table.name else [None] * len(found[0])
    labels, classes = _as_numbers(where, raw, table.classes)
    for split in [split for split in labels if split != "train" and (labels[split] == UNLABELLED).all()]:
        say(f"{where}: the {split} split has no labels, so it is not used")
        del labels[split]
    test = test_split(where, source, labels)
    labels = {split: labels[split] for split in ("train", test) if split}
    classes, labels = numbered(where, labels, classes)
    order = {
        split: file_names(names[split], found.tolist()) or [f"row {row:010}" for row in range(len(found))]
        for split, found in labels.items()
    }
    places = chosen(name, source, labels, order)
    form = f"{sum(len(files[split]) for split in labels)} files, columns {table.data} and {table.label}"
    entries = partial(_entries, where, files, table, labels, order, places)
    return Opened(where, classes, entries=entries, counted=counts(places), storage=source.storage, form=form)


def _entries(
    where: str,
    files: Splits,
    table: Columns,
    labels: dict[str, np.ndarray],
    names: dict[str, list[str]],
    places: dict[str, np.ndarray],
) -> Iterator[Entry]:
    for split, place in places.items():
        numbers = np.flatnonzero(place != UNUSED).tolist()
        found = parquet.images(where, files[split], table.data, table.name, place != UNUSED)
        for row, data in zip(numbers, found, strict=True):
            yield Entry("test" if place[row] == TEST else "train", int(labels[split][row]), names[split][row], data)


def _as_numbers(
    where: str, raw: dict[str, tuple], classes: list[str] | None
) -> tuple[dict[str, np.ndarray], list[str] | None]:
    """Labels as int64 ``[N]``, with the names of their classes; words are numbered in their order."""
    words = {same_spelling(label) for found in raw.values() for label in found if isinstance(label, str)}
    number = {word: index for index, word in enumerate(sorted(words))}

    def index(label: int | str | None) -> int:
        if label is None:
            return UNLABELLED
        return number[same_spelling(label)] if words else int(label)

    try:
        labels = {split: np.array([index(label) for label in found], np.int64) for split, found in raw.items()}
    except OverflowError:
        raise UserError(f"{where}: some labels have more than 63 bits; number the classes 0, 1, 2, ...") from None
    return labels, sorted(words) or classes
