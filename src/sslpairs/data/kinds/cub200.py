"""CUB-200-2011."""

from pathlib import Path

from sslpairs.config.sources.cub200 import FILES, CUB200Settings
from sslpairs.data.names import shown
from sslpairs.data.photographs import Layout, Lists, assign, class_number, lines, open_photographs
from sslpairs.data.sources import Opened
from sslpairs.data.splits import Places
from sslpairs.errors import UserError

IMAGES, LABELS, SPLITS = "images.txt", "image_class_labels.txt", "train_test_split.txt"


def open_source(name: str, source: CUB200Settings, path: Path) -> Opened:
    """In the order of the authors' numbers of classes, and of names."""
    layout = Layout(
        title="CUB-200-2011",
        files=FILES,
        images="images",
        depth=2,
        lists=(IMAGES, LABELS, SPLITS),
        folders=("CUB_200_2011",),
        classes=source.classes,
        read=_read,
    )
    return open_photographs(name, source, path, layout)


def _read(where: str, lists: Lists) -> tuple[list[str], Places]:
    """Each list has an image's number, a blank, and its name, its class (from 1), or 1 if it is for training."""
    images, labels, training = (_by_number(where, lists, file) for file in (IMAGES, LABELS, SPLITS))
    if not images.keys() == labels.keys() == training.keys():
        raise UserError(f"{where}: {IMAGES}, {LABELS} and {SPLITS} have not the same images; get them again")
    places: Places = {}
    folders: dict[int, str] = {}
    for number, image in images.items():
        folder, _, file = image.partition("/")
        text = labels[number]
        label = class_number(text)
        fits = label and file and "/" not in file and folders.setdefault(label, folder) == folder
        if not fits or training[number] not in ("0", "1"):
            raise UserError(
                f"{where}: image {shown(number)}: '{shown(image)}', class '{shown(text)}', training '{shown(training[number])}' do "
                "not fit together; get the lists again"
            )
        assign(where, places, image, "train" if training[number] == "1" else "test", label - 1)
    return [folders.get(label, str(label)) for label in range(1, max(folders, default=0) + 1)], places


def _by_number(where: str, lists: Lists, file: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines(where, lists, file):
        number, _, value = line.partition(" ")
        if number in found:
            raise UserError(f"{where}: {file} has the number {shown(number)} more than once; get it again")
        found[number] = value.strip()
    return found
