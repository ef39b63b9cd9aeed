"""Oxford-IIIT Pet."""

from pathlib import Path

from sslpairs.config.sources.pets import FILES, PetsSettings
from sslpairs.data.names import shown
from sslpairs.data.photographs import Layout, Lists, assign, class_number, lines, open_photographs
from sslpairs.data.sources import Opened
from sslpairs.data.splits import Places
from sslpairs.errors import UserError

LISTS = {"annotations/trainval.txt": "train", "annotations/test.txt": "test"}


def open_source(name: str, source: PetsSettings, path: Path) -> Opened:
    """In the order of the authors' numbers of classes, and of names."""
    layout = Layout(
        title="Oxford-IIIT Pet",
        files=FILES,
        images="images",
        depth=1,
        lists=tuple(LISTS),
        folders=("oxford-iiit-pet",),
        classes=source.classes,
        read=_read,
    )
    return open_photographs(name, source, path, layout)


def _read(where: str, lists: Lists) -> tuple[list[str], Places]:
    """A line is a name, which begins with the breed, the number of the class, from 1, of the species, and of the breed in it."""
    places: Places = {}
    breeds: dict[int, str] = {}
    for file, split in LISTS.items():
        for line in lines(where, lists, file):
            image, text, *_ = (*line.split(), "", "")
            breed, number = image.rpartition("_")[0], class_number(text)
            if not (breed and number and breeds.setdefault(number, breed) == breed):
                raise UserError(
                    f"{where}: {file}: '{shown(line)}' is not a name with its breed and class; get it again"
                )
            assign(where, places, f"{image}.jpg", split, number - 1)
    return [breeds.get(number, str(number)) for number in range(1, max(breeds, default=0) + 1)], places
