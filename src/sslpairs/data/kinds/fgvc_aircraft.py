"""FGVC-Aircraft."""

from functools import partial
from pathlib import Path

from sslpairs.config.sources.fgvc_aircraft import CLASSES, FILES, FGVCAircraftSettings
from sslpairs.data.names import shown
from sslpairs.data.photographs import Layout, Lists, assign, lines, open_photographs
from sslpairs.data.sources import Opened
from sslpairs.data.splits import Places
from sslpairs.errors import UserError

NAMES = {"variant": "variants.txt", "family": "families.txt", "manufacturer": "manufacturers.txt"}


def open_source(name: str, source: FGVCAircraftSettings, path: Path) -> Opened:
    """In the order of labels, the lines of the authors' list of names (of variants, they are sorted), and of the images' numbers."""
    splits = {f"images_{source.level}_{source.train}.txt": "train", f"images_{source.level}_{source.test}.txt": "test"}
    layout = Layout(
        title="FGVC-Aircraft",
        files=FILES,
        images="images",
        depth=1,
        lists=(NAMES[source.level], *splits),
        folders=("data", "fgvc-aircraft-2013b/data"),
        classes=CLASSES[source.level],
        read=partial(_read, NAMES[source.level], splits),
    )
    return open_photographs(name, source, path, layout)


def _read(names: str, splits: dict[str, str], where: str, lists: Lists) -> tuple[list[str], Places]:
    """A line of ``names`` is a class; a line of the others is an image's number, a blank and its class, which may have blanks."""
    classes = lines(where, lists, names)
    labels = {name: label for label, name in enumerate(classes)}
    if len(labels) < len(classes):
        raise UserError(f"{where}: {names} has a name more than once; get it again")
    places: Places = {}
    for file, split in splits.items():
        for line in lines(where, lists, file):
            number, _, title = line.partition(" ")
            if (label := labels.get(title)) is None:
                raise UserError(f"{where}: {file}: '{shown(line)}' is not a number and a name of {names}; get it again")
            assign(where, places, f"{number}.jpg", split, label)
    return classes, places
