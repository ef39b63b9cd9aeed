"""Where images come from: scikit-learn's digits, or a folder or archive of images.

Gives uint8 arrays of one size, or the encoded files one after the other, and decodes these in one way for all.
"""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
import stat
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from sslpairs.config.datasets import Dataset, Digits, ImageFolder
from sslpairs.data.memory import free_memory, in_bytes
from sslpairs.errors import UserError, nearest
from sslpairs.files import sha256_file

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")
Arrays = tuple[np.ndarray, np.ndarray]
"""Images, uint8 ``[N, C, H, W]``, and labels, int64 ``[N]``."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm", ".tif", ".tiff"})
# Pillow knows formats, such as EPS, that run other programs: a file that is only called .jpg must not reach them.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "PPM", "TIFF")
TAR_OPENERS: dict[str, Callable[..., IO[bytes]]] = {
    ".tar": open,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.xz": lzma.open,
    ".txz": lzma.open,
    ".tar.bz2": bz2.open,
    ".tbz2": bz2.open,
}
SPLIT_FOLDERS = ("train", "test", "val")
JUNK = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})

Listing = dict[str, dict[str, list[str]]]
"""Split -> class -> sorted names of its images."""


@dataclass(frozen=True)
class Listed:
    """What is to be read of a folder or archive."""

    where: str
    """How errors name it."""
    path: Path
    classes: list[str]
    files: dict[str, list[str]]
    """Split -> the names of its images, in the order of their labels."""
    labels: dict[str, np.ndarray]
    """Split -> int64 ``[N]``."""


def read(name: str, dataset: Dataset, root: Path, listed: Listed | None = None) -> tuple[dict[str, Arrays], list[str]]:
    """The images and labels of the splits ``train`` and ``test``, and the names of the classes.

    ``listed`` spares a second look at an image folder. Progress goes to stderr. Raises UserError, naming the data set
    and the file, for a source that is absent, damaged or laid out in another way than ``train/<class>/*`` and
    ``test/<class>/*`` (or ``val/<class>/*``), and for arrays that this machine's memory does not hold.
    """
    start = time.monotonic()
    source = dataset.source
    if isinstance(source, Digits):
        splits, classes = _digits(source)
    else:
        listed = listed or list_images(name, source, root)
        splits, classes = _image_folder(name, source, listed), listed.classes
    say_read(
        name,
        {split: len(labels) for split, (_, labels) in splits.items()},
        classes,
        splits["train"][0].shape[1:],
        start,
    )
    return splits, classes


def say_read(name: str, counts: dict[str, int], classes: list[str], shape: Sequence[int], start: float) -> None:
    """One line on what was read since ``start`` (``time.monotonic()``)."""
    _say(
        f"{name}: read {counts['train']:,} training and {counts['test']:,} test images of {len(classes)} classes, "
        f"{' x '.join(map(str, shape))}, in {time.monotonic() - start:.0f} s"
    )


def source_path(name: str, source: ImageFolder, root: Path) -> Path:
    """The folder or archive that ``source.path`` means: ~ and $VARIABLES expanded, relative to ``root``."""
    text = os.path.expandvars(source.path)
    if unset := re.search(r"\$\w+|\$\{\w+\}", text):
        raise UserError(
            f"data set '{name}': path '{source.path}': the environment variable {unset[0]} is not set; "
            "set it, or write the path out in config/datasets.yaml"
        )
    return root / Path(text).expanduser()


# ---------------------------------------------------------------------------------------------------------- digits


def _digits(source: Digits) -> tuple[dict[str, Arrays], list[str]]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    labels = bunch.target.astype(np.int64)
    images = enlarge_digits(bunch.images.astype(np.int64), source.size)[:, None]
    test = _test_indices(labels, source.test_per_class)
    train = np.setdiff1d(np.arange(len(labels)), test)
    return {"train": (images[train], labels[train]), "test": (images[test], labels[test])}, [str(n) for n in range(10)]


def _test_indices(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Sorted indices of the test images: in each class, the first ones in the order of a hash of their index.

    A hash, since no random generator promises the same stream in every version of its library.
    """

    def key(index: int) -> str:
        return hashlib.sha256(f"sslpairs digits {index}".encode()).hexdigest()

    chosen = [sorted(np.flatnonzero(labels == label).tolist(), key=key)[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))


def enlarge_digits(images: np.ndarray, size: int) -> np.ndarray:
    """Integer images ``[N, S, S]`` with values 0..16 as uint8 ``[N, size, size]`` with values 0..255; size >= S.

    Bilinear with half-pixel centres and repeated edges, as ``interpolate(align_corners=False)``, in integers:
    every weight is a fraction over 2 size, and the one rounding (half up) is at the end. So all machines agree.
    """
    side = images.shape[1]
    # Output pixel i lies at ((2i + 1) side - size) / (2 size) of the input.
    place = np.clip((2 * np.arange(size) + 1) * side - size, 0, 2 * size * (side - 1))
    low, weight = np.divmod(place, 2 * size)
    high = np.minimum(low + 1, side - 1)
    rows = images[:, low] * (2 * size - weight)[:, None] + images[:, high] * weight[:, None]
    both = rows[:, :, low] * (2 * size - weight) + rows[:, :, high] * weight
    whole = 16 * (2 * size) ** 2
    return ((2 * 255 * both + whole) // (2 * whole)).astype(np.uint8)


# ---------------------------------------------------------------------------------------------------- image folders


def list_images(name: str, source: ImageFolder, root: Path) -> Listed:
    """The first pass over a source: it finds every fault of the layout, as a UserError."""
    path = source_path(name, source, root)
    where = f"data set '{name}': {path}"
    _check_file(where, path, source)
    _say(f"{name}: reading the list of files in {path.name}")
    listing = _listing(where, _members(where, path))
    classes = list(listing["train"])
    for split, limit in (("train", source.train_per_class), ("test", source.test_per_class)):
        _limit(name, listing[split], split, limit)
    labels = {
        split: np.repeat(np.arange(len(classes), dtype=np.int64), [len(by_class[c]) for c in classes])
        for split, by_class in listing.items()
    }
    files = {split: [file for c in classes for file in by_class[c]] for split, by_class in listing.items()}
    return Listed(where, path, classes, files, labels)


def encoded(name: str, listed: Listed, doing: str) -> Iterator[tuple[str, int, "Member"]]:
    """The second pass: split, place in the split and bytes of each listed image, in the order of storage.

    ``doing`` is the word that progress shows. UserError for a source that is damaged or changes meanwhile.
    """
    slots = {file: (split, place) for split, files in listed.files.items() for place, file in enumerate(files)}
    unread = set(slots)
    wanted = (member for member in _members(listed.where, listed.path, slots) if member.data is not None)
    for member in track(wanted, len(slots), name, doing):
        yield *slots[member.name], member
        unread.discard(member.name)
    if unread:
        raise UserError(f"{listed.where}: {min(unread)} disappeared while it was being read; run the command again")


def _image_folder(name: str, source: ImageFolder, listed: Listed) -> dict[str, Arrays]:
    needed = sum(map(len, listed.labels.values())) * source.channels * source.size**2
    if needed > (free := free_memory()):
        raise UserError(
            f"{listed.where}: its images take {in_bytes(needed)} of memory while they are prepared, and {in_bytes(free)} are free; "
            "write 'storage: files' under its source in config/datasets.yaml, which keeps them encoded"
        )
    images = {
        split: np.empty((len(labels), source.channels, source.size, source.size), np.uint8)
        for split, labels in listed.labels.items()
    }
    for split, place, member in encoded(name, listed, "decoding"):
        images[split][place] = _decode(listed.where, member, source.size, source.channels)
    return {split: (images[split], labels) for split, labels in listed.labels.items()}


def _check_file(where: str, path: Path, source: ImageFolder) -> None:
    if not path.exists():
        raise UserError(
            f"{where}: there is no such file or folder; put the data there, or correct 'path' in config/datasets.yaml"
        )
    if path.is_dir():
        if source.sha256:
            raise UserError(f"{where} is a folder, and 'sha256' is for archives: remove it from config/datasets.yaml")
        return
    if _archive_suffix(path) is None:
        raise UserError(
            f"{where} is neither a folder nor an archive of a known type; use one of {', '.join(TAR_OPENERS)}, .zip"
        )
    if source.sha256 and (found := sha256_file(path)) != source.sha256:
        raise UserError(
            f"{where} has sha256 {found}, but config/datasets.yaml expects {source.sha256}\n"
            "get the file again, or correct 'sha256' there if this file is the right one"
        )


def _archive_suffix(path: Path) -> str | None:
    return next((suffix for suffix in (*TAR_OPENERS, ".zip") if path.name.lower().endswith(suffix)), None)


def _limit(name: str, by_class: dict[str, list[str]], split: str, limit: int | None) -> None:
    """Keep the first ``limit`` images of each class; a class that has fewer keeps them all, and that is said."""
    if limit is None:
        return
    short = [f"{c} {len(files)}" for c, files in by_class.items() if len(files) < limit]
    if short:
        more = f" and {len(short) - 5} more" if len(short) > 5 else ""
        _say(f"{name}: {split}: fewer than {limit} images in {', '.join(short[:5])}{more}; all of them are used")
    for c in by_class:
        by_class[c] = by_class[c][:limit]


# --------------------------------------------------------------------------------------------- folders and archives


class Member(NamedTuple):
    """One entry of a folder or archive."""

    name: str
    """Path within the folder or archive, parts separated by /, without a leading ./"""
    kind: str
    """'file', 'folder', or 'other' (a link, a device): those are never followed."""
    data: bytes | None
    """A file's bytes where they were asked for."""


def _members(where: str, path: Path, wanted: Collection[str] = ()) -> Iterator[Member]:
    """All entries in the order of storage, with the bytes of the ``wanted`` ones, in one sequential pass."""
    if path.is_dir():
        entries = _read_folder(path, wanted)
    elif _archive_suffix(path) == ".zip":
        entries = _read_zip(path, wanted)
    else:
        entries = _read_tar(path, wanted)
    try:
        for member in entries:
            parts = PurePosixPath(member.name).parts
            if not parts:
                continue
            if parts[0] == "/" or ".." in parts:
                raise UserError(f"{where}: the name '{member.name}' leads out of the archive; pack it again without it")
            if not any(part.startswith(".") or part in JUNK for part in parts):
                yield member._replace(name="/".join(parts))
    # RuntimeError and NotImplementedError: zipfile, for a password or an unknown compression.
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, RuntimeError) as error:
        raise UserError(f"{where} is damaged or cut off ({error}); get it again") from error
    except OSError as error:  # gzip and bz2 have errors of their own of this kind, without a number
        if error.errno is None:
            raise UserError(f"{where} is damaged or cut off ({error}); get it again") from error
        raise UserError(f"{where} cannot be read ({error}); check the disk and the permissions") from error


def _read_folder(path: Path, wanted: Collection[str]) -> Iterator[Member]:
    """Links are followed here: a subset made of links to class folders is common, and the user made them."""

    def walk(folder: Path, parts: tuple[str, ...]) -> Iterator[Member]:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            inner = (*parts, entry.name)
            name = "/".join(inner)
            kind = "folder" if entry.is_dir() else "file" if entry.is_file() else "other"
            yield Member(name, kind, Path(entry.path).read_bytes() if name in wanted else None)
            # Only as deep as wrapper/train/<class>/*, so that a wrong path, such as ~, is not searched as a whole.
            near = len(inner) == 1 or (len(inner) <= 3 and not {*inner[:2]}.isdisjoint(SPLIT_FOLDERS))
            if kind == "folder" and near and not entry.name.startswith("."):
                yield from walk(Path(entry.path), inner)

    return walk(path, ())


def _read_zip(path: Path, wanted: Collection[str]) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            link = stat.S_ISLNK(info.external_attr >> 16)
            kind = "folder" if info.is_dir() else "other" if link else "file"
            name = _plain(info.filename)
            # read() compares the CRC.
            yield Member(name, kind, archive.read(info) if name in wanted and kind == "file" else None)


def _read_tar(path: Path, wanted: Collection[str]) -> Iterator[Member]:
    """One forward pass: seeking in .tar.xz would decompress from the start each time."""
    with TAR_OPENERS[_archive_suffix(path)](path, "rb") as file:
        tail = _Tail(file)
        with tarfile.open(fileobj=tail, mode="r|") as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # or it would keep a record of every file, about 1 kB each
                kind = "folder" if info.isdir() else "file" if info.isreg() else "other"
                name = _plain(info.name)
                data = archive.extractfile(info).read() if name in wanted and kind == "file" else None
                yield Member(name, kind, data)
            # tarfile takes a cut between two files, or a damaged header, for the end. The true end is a block of
            # zeros with nothing but zeros after it. Reading on also makes gzip, bz2 and xz compare their checksums.
            while tail.read(1 << 20):
                pass
            rest = tail.total - archive.offset
            if rest < tarfile.BLOCKSIZE or tail.zeros < rest:
                raise tarfile.ReadError("it does not end as a tar archive does")


def _plain(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", ".")) if not name.startswith("/") else name


class _Tail:
    """A stream that counts its bytes, and the zeros that it ends with so far."""

    def __init__(self, file: IO[bytes]):
        self.file, self.total, self.zeros = file, 0, 0

    def read(self, size: int) -> bytes:
        block = self.file.read(size)
        body = len(block.rstrip(b"\0"))
        self.zeros = len(block) - body + (0 if body else self.zeros)
        self.total += len(block)
        return block


# --------------------------------------------------------------------------------------------------------- layout


def _listing(where: str, members: Iterable[Member]) -> Listing:
    """Sort the entries into splits and classes; every departure from the layout is a UserError that names it."""
    kinds = {member.name: member.kind for member in members}
    prefix = _prefix(where, kinds)
    found: Listing = {}
    for name, kind in kinds.items():
        if not name.startswith(prefix):
            continue
        split, *inner = name[len(prefix) :].split("/")
        if split not in SPLIT_FOLDERS or (not inner and kind != "folder"):
            continue
        classes = found.setdefault(split, {})
        is_image = PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
        if len(inner) == 1 and kind == "folder":
            classes.setdefault(inner[0], [])
        elif len(inner) == 1 and is_image:
            raise UserError(f"{where}: {name} is in no class; put it into {split}/<class>/")
        elif len(inner) > 2 or (len(inner) == 2 and kind == "folder"):
            raise UserError(f"{where}: {name} lies too deep; images lie directly in {split}/<class>/")
        elif len(inner) == 2 and kind == "other":
            raise UserError(f"{where}: {name} is a link or a special file; put the image itself there")
        elif len(inner) == 2 and not is_image:
            raise UserError(
                f"{where}: {name} is not an image ({', '.join(sorted(IMAGE_SUFFIXES))}); remove it from the class"
            )
        elif len(inner) == 2:
            classes.setdefault(inner[0], []).append(name)
    return _checked(where, prefix, found)


def _prefix(where: str, names: Collection[str]) -> str:
    """``""``, or ``wrapper/`` where one folder lies around train/ and test/."""
    parts = [name.split("/") for name in names]
    if any(part[0] in SPLIT_FOLDERS for part in parts):
        return ""
    wrappers = sorted({part[0] for part in parts if len(part) > 1 and part[1] in SPLIT_FOLDERS})
    if len(wrappers) > 1:
        raise UserError(f"{where}: both {wrappers[0]}/ and {wrappers[1]}/ have splits; give the path of one of them")
    if not wrappers:
        top = sorted({part[0] for part in parts})
        raise UserError(f"{where}: there is no train/ in it (found: {_few(top)}); images belong in train/<class>/")
    return f"{wrappers[0]}/"


def _checked(where: str, prefix: str, found: Listing) -> Listing:
    """Train and test with the same classes, none empty, all in the order of names."""
    held_out = [split for split in ("test", "val") if split in found]
    if "train" not in found:
        raise UserError(f"{where}: there is no {prefix}train/ in it; training images belong in {prefix}train/<class>/")
    if not held_out:
        raise UserError(f"{where}: there is neither {prefix}test/ nor {prefix}val/; add one, with the classes of train")
    if len(held_out) == 2:
        raise UserError(f"{where}: there are both {prefix}test/ and {prefix}val/; leave only the one to test on")
    train, test = found["train"], found[held_out[0]]
    if extra := sorted(test.keys() - train.keys()):
        raise UserError(
            f"{where}: the class '{extra[0]}' is in {held_out[0]}/ but not in train/{nearest(extra[0], sorted(train))}"
        )
    if absent := sorted(train.keys() - test.keys()):
        raise UserError(f"{where}: the class '{absent[0]}' is in train/ but not in {held_out[0]}/; add it there")
    if not train:
        raise UserError(f"{where}: {prefix}train/ has no classes; images belong in {prefix}train/<class>/")
    for split, by_class in (("train", train), (held_out[0], test)):
        for c in sorted(by_class):
            if not by_class[c]:
                raise UserError(f"{where}: {prefix}{split}/{c}/ has no images; add some, or remove the class")
    return {
        "train": {c: sorted(train[c]) for c in sorted(train)},
        "test": {c: sorted(test[c]) for c in sorted(train)},
    }


def _few(words: Sequence[str]) -> str:
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "") or "nothing"


# ----------------------------------------------------------------------------------------------------------- images


def _decode(where: str, member: Member, size: int, channels: int) -> np.ndarray:
    try:
        return decode(member.data, size, channels)
    except ValueError as error:
        raise UserError(unusable(where, member.name, error)) from error


def unusable(where: str, file: str, reason: object) -> str:
    """What to say of a file of the source that cannot be decoded."""
    return f"{where}: {file} cannot be read as an image ({reason}); replace it or remove it"


def decode(data: bytes, size: int, channels: int) -> np.ndarray:
    """An encoded image as uint8 ``[channels, size, size]``: turned upright, shorter side resized to ``size`` (bicubic),
    centre cropped. ValueError, with the reason, for bytes that are no whole image."""
    from PIL import Image, ImageOps

    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.load()
        image = _eight_bits(ImageOps.exif_transpose(image)).convert("RGB" if channels == 3 else "L")
        short = min(image.size)
        if short != size:
            # Python rounds halves to even; half up keeps a side from ending below size.
            width, height = ((2 * side * size + short) // (2 * short) for side in image.size)
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (image.width - size) // 2, (image.height - size) // 2
        pixels = np.asarray(image.crop((left, top, left + size, top + size)))
    except Exception as error:  # on damaged bytes Pillow's readers raise nearly anything
        raise ValueError("unknown format" if type(error).__name__ == "UnidentifiedImageError" else error) from error
    return pixels.reshape(size, size, channels).transpose(2, 0, 1)


def _eight_bits(image: "Image.Image") -> "Image.Image":
    """The image with 8 bits a channel; 16-bit greys are scaled, transparent parts become white."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        grey = np.asarray(image)
        if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
            raise ValueError(f"pixels of mode {image.mode}, whose range is unknown: save it with 8 or 16 bits")
        return Image.fromarray(((grey.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


# --------------------------------------------------------------------------------------------------------- progress


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def track(items: Iterable[T], total: int, name: str, doing: str) -> Iterator[T]:
    """Pass images through, showing how many of ``total`` are done: a bar in a terminal, else a line every 10 s."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, f"{name}: images", total, console=Console(stderr=True), transient=True)
        return
    _say(f"{name}: {doing} {total:,} images")
    said = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - said >= 10:
            _say(f"{name}: {done:,} of {total:,} images")
            said = time.monotonic()
        yield item
