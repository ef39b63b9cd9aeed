"""DTD."""

from functools import partial
from pathlib import Path

from sslpairs.config.sources.dtd import FILES, DTDSettings
from sslpairs.data.names import shown
from sslpairs.data.photographs import Layout, Lists, assign, lines, open_photographs
from sslpairs.data.sources import Opened
from sslpairs.data.splits import Places
from sslpairs.errors import UserError


def open_source(name: str, source: DTDSettings, path: Path) -> Opened:
    """In the order of names, of classes and then of images."""
    parts = {"train": "train", source.test: "test"} | ({"val": "train"} if source.train == "trainval" else {})
    splits = {f"labels/{part}{source.partition}.txt": split for part, split in parts.items()}
    layout = Layout(
        title="DTD",
        files=FILES,
        images="images",
        depth=2,
        lists=tuple(splits),
        folders=("dtd", "dtd/dtd"),
        classes=source.classes,
        read=partial(_read, splits),
    )
    return open_photographs(name, source, path, layout)


def _read(splits: dict[str, str], where: str, lists: Lists) -> tuple[list[str], Places]:
    """A line is an image: its class, a slash and its file."""
    images = {file: lines(where, lists, file) for file in splits}
    for file, names in images.items():
        if wrong := next((name for name in names if name.count("/") != 1), None):
            raise UserError(f"{where}: {file}: '{shown(wrong)}' is not a class and a file in it; get it again")
    classes = sorted({name.partition("/")[0] for names in images.values() for name in names})
    labels = {name: label for label, name in enumerate(classes)}
    places: Places = {}
    for file, names in images.items():
        for name in names:
            assign(where, places, name, splits[file], labels[name.partition("/")[0]])
    return classes, places
