"""Food-101."""

import json
from pathlib import Path

from sslpairs.config.sources.food101 import FILES, Food101Settings
from sslpairs.data.names import shown
from sslpairs.data.photographs import Layout, Lists, assign, open_photographs
from sslpairs.data.sources import Opened
from sslpairs.data.splits import Places
from sslpairs.errors import UserError

LISTS = {"meta/train.json": "train", "meta/test.json": "test"}


def open_source(name: str, source: Food101Settings, path: Path) -> Opened:
    """In the order of names, of classes and then of images."""
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
