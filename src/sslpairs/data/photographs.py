"""Published sets of photographs: image files, and lists that name those of each split and class.

They lie in one or more archives of the authors, in the folders unpacked from these, or in a folder of torchvision's. An archive is read
in two passes, since its lists may lie behind its images: the first ends with the last list, the second reads the images. With ``original:
false`` there is a third, which looks for images that are not there. A pass over 2.7 GB takes a minute, decoding its images several.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PhotographSource
from sslpairs.data.archives import SUFFIXES, members, open_members, telling_errors
from sslpairs.data.memory import in_bytes
from sslpairs.data.names import shown, unusable_as_class
from sslpairs.data.official import verified_by, verify
from sslpairs.data.progress import say
from sslpairs.data.sources import Entry, Opened
from sslpairs.data.splits import Places, limited
from sslpairs.errors import UserError

MAX_LIST = 16 << 20
"""Maximum bytes of a list; the largest official one has about 2 MB."""
WHOLE = 0.9
"""An unpacked folder has at least this share of the archive's bytes: packing JPEG files saves next to nothing, while copies that were
resized or compressed again have far fewer."""
Lists = dict[str, bytes]
"""Name of a list, as in ``Layout.lists`` -> its content."""


@dataclass(frozen=True)
class Layout:
    """How one of these data sets is laid out."""

    title: str
    files: tuple[RemoteFile, ...]
    """The authors' files: the archive of the images first, then those of the lists, if they are others."""
    images: str
    """Name of the folder of the images."""
    depth: int
    """Parts of an image's name: 2 if its folder, the class, is one of them."""
    lists: tuple[str, ...]
    """The lists, by their paths from the folder that holds that of the images."""
    folders: tuple[str, ...]
    """Where torchvision and the archives put that folder: paths from the root."""
    classes: int
    read: Callable[[str, Lists], tuple[list[str], Places]]
    """Classes and places from the lists; the first argument names the data set in errors."""

    def canonical(self, name: str) -> str | None:
        """The name of an image from its path in an archive, or None if it is not in the folder of the images."""
        parts = name.split("/")
        inside = len(parts) > self.depth and parts[-self.depth - 1] == self.images
        return "/".join(parts[-self.depth :]) if inside else None

    def list_name(self, name: str) -> str | None:
        """The list that a path in an archive is, or None."""
        return next((one for one in self.lists if f"/{name}".endswith(f"/{one}")), None)


def open_photographs(name: str, source: PhotographSource, path: Path, layout: Layout) -> Opened:
    """Find the images and their lists at ``path``, and read the lists. UserError if a part is missing, or not the authors'."""
    where = f"data set '{name}': {shown(str(path))}"
    with telling_errors(where):
        if not path.exists():
            raise UserError(f"{where}: there is no such file or folder; put the data there, or correct 'path'")
        images, lists, form = _find(name, where, source, path, layout)
    classes, places = layout.read(where, lists)
    if reason := next((f"'{shown(c)}' {r}" for c in classes if (r := unusable_as_class(c))), None):
        raise UserError(f"{where}: the name of its class {reason}; get its lists again")
    if source.original and len(classes) != layout.classes:
        raise UserError(
            f"{where}: its lists have {len(classes)} classes, but {layout.title} has {layout.classes}; get them again, "
            "or set 'original: false' under its source in config/datasets.yaml for a part of it"
        )
    if images.is_dir() or not source.original:
        places = _present(name, where, source, images, layout, places)
    limits = {"train": source.train_per_class, "test": source.test_per_class}
    places = limited(places, limits)
    counts = Counter(split for split, _ in places.values())
    there = f"data set '{name}': {shown(str(images))}"
    entries = partial(_entries, there, images, layout, places)
    return Opened(there, classes, entries=entries, counted=dict(counts), storage=source.storage, form=form)


def lines(where: str, lists: Lists, name: str) -> list[str]:
    """Lines of a list without blank ones and blanks around them."""
    try:
        text = lists[name].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: {name} is not a text ({error.reason}); get it again") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def class_number(text: str) -> int:
    """The number of a class, counted from 1; 0 for any other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0


def assign(where: str, places: Places, image: str, split: str, label: int) -> None:
    """Add an image; UserError if it is already there: an image is in one split and class."""
    if image in places:
        raise UserError(f"{where}: its lists name {shown(image)} more than once; get them again")
    places[image] = split, label


# --- where they lie ---------------------------------------------------------------------------------------------------


def _find(name: str, where: str, source: PhotographSource, path: Path, layout: Layout) -> tuple[Path, Lists, str]:
    """The archive or folder of the images, the lists, and the form for receipts."""
    homes = [path.parent] if path.is_file() else list(_homes(path, layout))
    found = [(home, _official(home, path, layout)) for home in homes]
    home, files = next((one for one in found if _complete(*one, layout)), (None, {}))
    if home is None and path.is_file() and not source.original:
        home, files = path.parent, {layout.files[0].name: path}  # all parts in one archive
    if home is None:
        raise UserError(_missing(where, found, layout))
    images = files.get(layout.files[0].name, home / layout.images)
    lists: Lists = {}
    forms = []
    for known in (known for known in layout.files if known.name in files):
        file = files[known.name]
        there = f"data set '{name}': {shown(str(file))}"
        forms.append(verified_by(verify(there, file, [known])) if source.original else f"{file.name} (not verified)")
        if known.name in layout.lists:
            lists[known.name] = _from_file(there, file)
        elif file != images or len(files) == 1:
            lists |= _from_archive(there, file, layout)
    absent = [one for one in layout.lists if one not in lists]
    for one in absent:
        if files and not (home / one).is_file():
            raise UserError(f"{where}: there is no {one} in {shown(list(files.values())[-1].name)}; get it again")
        lists[one] = _from_file(f"data set '{name}': {shown(str(home / one))}", home / one)
    if absent or images.is_dir():
        verdict = "complete, no digests on record" if source.original else "not verified"
        forms.insert(0, f"{home.name if absent else layout.images}/ ({verdict})")
    return images, lists, ", ".join(forms)


def _homes(top: Path, layout: Layout) -> Iterator[Path]:
    """Folders in which the data set may lie: the given one, torchvision's in it, and the same in each of its folders."""
    for outer in ("", "*"):
        for inner in ("", *layout.folders):
            pattern = "/".join(filter(None, (outer, inner)))
            yield from (folder for folder in (sorted(top.glob(pattern)) if pattern else [top]) if folder.is_dir())


def _official(home: Path, path: Path, layout: Layout) -> dict[str, Path]:
    """Those of the authors' files that are there, also archives that were packed differently; one of them may be given by ``path``."""
    files = {}
    for known in layout.files:
        suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if known.name.endswith(s)), None)
        packed = [known.name.removesuffix(suffix) + s for s in SUFFIXES] if suffix else []
        if file := next((home / one for one in (known.name, *packed) if (home / one).is_file()), None):
            files[known.name] = file
    if path.is_file() and (len(layout.files) == 1 or path not in files.values()):
        files[layout.files[0].name] = path  # the archive of the images, whatever its name
    return files


def _complete(home: Path, files: dict[str, Path], layout: Layout) -> bool:
    images = layout.files[0].name in files or (home / layout.images).is_dir()
    last = layout.files[-1].name
    packed = last in files and last not in layout.lists
    return images and (packed or all((home / one).is_file() for one in layout.lists))


def _missing(where: str, found: list[tuple[Path, dict[str, Path]]], layout: Layout) -> str:
    """Why the data set is not complete, and what to do."""
    names = ", ".join(known.name for known in layout.files)
    for home, files in found:
        absent = [one for one in layout.lists if not (home / one).is_file()]
        if files or len(absent) < len(layout.lists):
            if layout.files[0].name not in files and not (home / layout.images).is_dir():
                absent.insert(0, f"{layout.images}/")
            return (
                f"{where}: there is no {absent[0]} in {shown(str(home))}, where other parts of {layout.title} are; put all of it there: "
                f"{names}, or what is unpacked from it"
            )
    homes = [home for home, _ in found]
    if any(next(home.glob(pattern), None) for home in homes for pattern in ("*.parquet", "*.arrow")):
        return f"{where}: files of the datasets library, which are not read for {layout.title}; get {names}"
    if any((home / "train").is_dir() for home in homes):
        return f"{where}: these are class folders, which do not tell the authors' splits; get {names}, or use kind: image-folder"
    return (
        f"{where}: none of the forms of {layout.title} is in it; give the path of {names}, of the folder unpacked from it (with "
        f"{layout.images}/ and {layout.lists[0]}), or of a folder that holds one of them (docs/data.md)"
    )


# --- reading ----------------------------------------------------------------------------------------------------------


def _from_archive(where: str, path: Path, layout: Layout) -> Lists:
    """The lists in an archive. It is read up to the last one."""
    say(f"{where}: reading its lists")
    lists: Lists = {}
    with telling_errors(where):
        for name, size, file in open_members(where, path):
            if (one := layout.list_name(name)) and one not in lists:
                lists[one] = _capped(where, name, size, file.read)
                if len(lists) == len(layout.lists):
                    break
    return lists


def _from_file(where: str, path: Path) -> bytes:
    with telling_errors(where), open(path, "rb") as file:
        return _capped(where, path.name, path.stat().st_size, file.read)


def _capped(where: str, name: str, size: int, read: Callable[[int], bytes]) -> bytes:
    if size > MAX_LIST:
        raise UserError(f"{where}: {shown(name)} has {in_bytes(size)}, too much for a list; get it again")
    return read(size)


def _walk(where: str, images: Path, layout: Layout, wanted: Collection[str] = ()) -> Iterator[tuple[str, bytes | None]]:
    """Names of all images, with the bytes of the ``wanted`` ones."""
    if images.is_dir():
        walked = members(where, images, wanted, depth=layout.depth)
        named = ((member.name, member) for member in walked)
    else:
        walked = members(where, images, lambda name: layout.canonical(name) in wanted)
        named = ((layout.canonical(member.name), member) for member in walked)
    return ((name, member.data) for name, member in named if name and member.kind == "file")


def _present(name: str, where: str, source: PhotographSource, images: Path, layout: Layout, places: Places) -> Places:
    """The places of the images that are there; UserError if some of the original ones are not."""
    say(f"{name}: reading the list of files in {shown(images.name)}")
    there = {file for file, _ in _walk(where, images, layout)}
    absent = sorted(places.keys() - there)
    if absent and source.original:
        raise UserError(
            f"{where}: {len(absent):,} of the {len(places):,} images in its lists are not in {layout.images}/, such as "
            f"{shown(absent[0])}\nunpack it again, or set 'original: false' under its source in config/datasets.yaml for a part of it"
        )
    if source.original:
        with telling_errors(where):
            total, packed = sum((images / file).stat().st_size for file in there), layout.files[0].bytes
        if total < WHOLE * packed:
            raise UserError(
                f"{where}: its images have {in_bytes(total)}, but the authors' archive of them has {in_bytes(packed)}: they were made "
                "smaller\nunpack the original, or set 'original: false' under its source in config/datasets.yaml to use them as they are"
            )
    if absent:
        say(f"{name}: {len(absent):,} of {len(places):,} images are not there, such as {shown(absent[0])}")
    return {file: where_to for file, where_to in places.items() if file in there}


def _entries(where: str, images: Path, layout: Layout, places: Places) -> Iterator[Entry]:
    unread = set(places)
    for name, data in _walk(where, images, layout, places):
        if data is None:
            continue
        if name not in unread:
            raise UserError(f"{where}: {shown(name)} is in it more than once; get it again")
        unread.discard(name)
        yield Entry(*places[name], name, data)
    if unread:
        raise UserError(
            f"{where}: {len(unread):,} of the images in its lists are not in it, such as {shown(min(unread))}; get it again"
        )
