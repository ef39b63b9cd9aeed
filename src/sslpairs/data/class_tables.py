"""Images with a label each, in tables or in shards, read as if they were files in folders of classes: ``train/<class>/<file>``.

So they get the names, the order and the checks of the other forms of their data set. Images without the authors' names are in the
order of the rows, or of the shards and keys.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from sslpairs.data import parquet
from sslpairs.data.archives import Member, Wanted, is_image
from sslpairs.data.class_files import Root
from sslpairs.data.columns import columns
from sslpairs.data.hub import check_numbers, file_names
from sslpairs.data.names import shown
from sslpairs.data.official import not_original
from sslpairs.data.shards import Splits, label
from sslpairs.data.webdataset import samples
from sslpairs.data.wnids import WNID
from sslpairs.errors import UserError

FOLDERS = {"test": "val", "train": "train"}
"""The validation split is read first, as in the other forms."""
OFFICIAL = re.compile(r"(n\d{8}|ILSVRC2012_val)_\d+")
"""How the keys of shards begin that are the names of ImageNet's files."""
Classes = Callable[[list[str] | None, int], list[str]]
"""From the stated names of the classes, if there are any, and the number of labels to the class of each label."""


def table_root(where: str, files: Splits, classes: Classes, original: bool) -> Root:
    """Tables with columns of images and labels. Names and labels are read here. UserError for labels that are none and, if
    ``original``, for images without names."""
    parquet.need_pyarrow(where)
    table = columns(where, [file for of_split in files.values() for file in of_split])
    found = {}
    for split in FOLDERS:
        asked = [table.label, *([table.name] if table.name else [])]
        rows = list(parquet.rows(where, files[split], asked))
        if not rows:
            raise UserError(f"{where}: {split}: there are no images in it; get it again")
        labels, *names = zip(*rows, strict=True)
        check_numbers(where, split, labels)
        found[split] = labels, file_names(names[0], labels) if names else None
    of_label = classes(table.classes, 1 + max(max(labels) for labels, _ in found.values()))
    stored = {}
    for split, (labels, names) in found.items():
        if original and names is None:
            raise UserError(
                not_original(f"{where}: {split}: the images have no names of their files, which tell whose they are")
            )
        if max(labels) >= len(of_label):
            raise UserError(f"{where}: {split}: the label {max(labels)} is none of {len(of_label):,}; get it again")
        names = names or [f"row {row:010}" for row in range(len(labels))]
        stored[split] = [
            f"{FOLDERS[split]}/{of_label[one]}/{name if is_image(name) else f'{name}.JPEG'}"
            for one, name in zip(labels, names, strict=True)
        ]
    return Root("", files["train"][0].parent, None, partial(_rows, files, table.data, table.name, stored))


def _rows(
    files: Splits,
    data: str,
    path_column: str | None,
    stored: dict[str, list[str]],
    where: str,
    _: Path,
    wanted: Wanted,
    __: int | None,
) -> Iterator[Member]:
    for split, names in stored.items():
        if not callable(wanted):
            yield from (Member(name, "file", None) for name in names)
            continue
        mask = np.fromiter(map(wanted, names), bool, len(names))
        found = parquet.images(where, files[split], data, path_column, mask)
        for row, image in zip(np.flatnonzero(mask).tolist(), found, strict=True):
            yield Member(names[row], "file", image)


def shard_root(where: str, files: Splits, classes: Classes, original: bool) -> Root:
    """Shards in the WebDataset format, whose labels are known only when they are read."""
    return Root("", files["train"][0].parent, None, partial(_samples, files, classes, original))


def _samples(
    files: Splits, classes: Classes, original: bool, where: str, _: Path, wanted: Wanted, __: int | None
) -> Iterator[Member]:
    """UserError for labels that are none and, if ``original``, for keys that are not the names of files."""
    of_label, highest = classes(None, 0), {}
    for split, folder in FOLDERS.items():
        for sample in samples(where, files[split], lambda *_: callable(wanted)):
            key = sample.key.rpartition("/")[2]
            named = OFFICIAL.match(key) is not None
            if original and not named:
                raise UserError(
                    not_original(
                        f"{where}: {sample.place}: this key is not the name of a file, which tells whose it is"
                    )
                )
            if not isinstance(sample.label, int) or not 0 <= sample.label < len(of_label):
                raise UserError(
                    f"{where}: {sample.place} has the label {shown(str(sample.label))}; they are 0 to {len(of_label) - 1}"
                )
            if not named:
                highest[split] = max(sample.label, highest.get(split, 0))
                key = f"{label(sample.shard).rpartition('/')[2]} {key}"
            name = f"{folder}/{of_label[sample.label]}/{key}.{sample.image}"
            data = sample.data if callable(wanted) and wanted(name) else None
            yield Member(name, "file", data)
    if highest:
        classes(None, 1 + max(highest.values()))


def wnid_classes(where: str, known: list[str], stated: list[str] | None, number: int) -> list[str]:
    """The class of each label: as its name begins, else by its place in the sorted list of ``known`` classes, if there are as many;
    a ``number`` of 0 is not known yet."""
    if stated and all(map(WNID.match, stated)):
        return [name[:9] for name in stated]
    number = len(stated or ()) or number
    if number in (0, len(known)):
        return known
    raise UserError(
        f"{where}: its labels are of {number:,} classes, not of {len(known):,}, and do not tell their WordNet IDs; get another copy, or "
        "use kind: parquet or kind: webdataset for other data"
    )
