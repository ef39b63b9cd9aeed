"""Food-101."""

import json
from functools import partial
from pathlib import Path

from sslpairs.config.sources.food101 import FILES, HUB, Food101Settings
from sslpairs.data.class_files import ClassFiles, Placed
from sslpairs.data.class_tables import table_root
from sslpairs.data.hub import Hub, check_original, hub_folder, hub_splits
from sslpairs.data.names import shown, unusable_as_class
from sslpairs.data.official import first
from sslpairs.data.photographs import Layout, Lists, assign, open_photographs
from sslpairs.data.sources import Opened
from sslpairs.data.splits import Places
from sslpairs.errors import UserError

COPY = Hub(HUB, test="val")
LISTS = {"meta/train.json": "train", "meta/test.json": "test"}


def open_source(name: str, source: Food101Settings, path: Path) -> Opened:
    """In the order of names, of classes and then of images."""
    where = f"data set '{name}': {shown(str(path))}"
    if not first(path, (FILES[0].name, "images")) and (copy := hub_folder(where, path, COPY)):
        return _open_copy(where, source, copy)
    layout = Layout(
        title="Food-101",
        files=FILES,
        images="images",
        depth=2,
        lists=tuple(LISTS),
        folders=("food-101",),
        classes=source.classes,
        read=_read,
    )
    return open_photographs(name, source, path, layout)


def _open_copy(where: str, source: Food101Settings, folder: Path) -> Opened:
    """The same order if the images have the authors' names, else that of the rows."""
    check_original(where, source)
    root = table_root(where, hub_splits(where, folder, COPY), partial(_stated, where), source.original)
    files = ClassFiles(where, [root], _place, {"train": source.train_per_class, "test": source.test_per_class})
    classes = sorted(files.counts["train"])
    if other := sorted(files.counts["test"].keys() - set(classes)):
        raise UserError(f"{where}: the class '{shown(other[0])}' has no training images; get all files again")
    counted = {split: files.kept(split, classes) for split in ("train", "test")}
    form = f"{HUB}'s parquet files (not verified)"
    entries = partial(files.entries, classes)
    return Opened(where, classes, entries=entries, counted=counted, storage=source.storage, form=form)


def _stated(where: str, stated: list[str] | None, _: int) -> list[str]:
    if not stated or (wrong := next((c for c in stated if "/" in c or unusable_as_class(c)), None)):
        found = (
            f"its class '{shown(wrong)}' has no usable name" if stated else "it does not state the names of its classes"
        )
        raise UserError(f"{where}: {found}; get {HUB} again, or use kind: parquet for other data")
    return stated


def _place(name: str) -> Placed:
    folder, title, file = name.split("/")
    return Placed("train" if folder == "train" else "test", title, f"{title}/{file}")


def _read(where: str, lists: Lists) -> tuple[list[str], Places]:
    """A map of each class to its images, named by class, slash and number."""
    found = {}
    for file in LISTS:
        try:
            found[file] = json.loads(lists[file])
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: {file} is not a JSON text ({shown(str(error))}); get it again") from error
        if not isinstance(found[file], dict) or not all(isinstance(images, list) for images in found[file].values()):
            raise UserError(f"{where}: {file} is not a map of classes to images; get it again")
    classes = sorted({title for by_class in found.values() for title in by_class})
    labels = {title: label for label, title in enumerate(classes)}
    places: Places = {}
    for file, by_class in found.items():
        for title, images in by_class.items():
            for image in images:
                if not isinstance(image, str) or image.count("/") != 1 or not image.startswith(f"{title}/"):
                    raise UserError(
                        f"{where}: {file}: '{shown(str(image))}' is not an image of {shown(title)}; get it again"
                    )
                assign(where, places, f"{image}.jpg", LISTS[file], labels[title])
    return classes, places
