"""ImageNet and ImageNet-100 in all forms of their files: the authors' two archives, unpacked or not, Kaggle's, re-sorted folders,
copies on the Hugging Face Hub.

Images have the authors' names in every form, and so the same order. The labels of the validation split come with this program: neither
the development kit nor Kaggle's tables are read.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PublishedSource
from sslpairs.config.sources.imagenet import (
    COMPRESSED,
    HUB,
    KAGGLE,
    SHARDS,
    TRAIN,
    TRAIN_FOLDERS,
    TREES,
    VAL,
    VAL_FOLDERS,
    ImageNetSettings,
)
from sslpairs.data.archives import is_image, stored_as, telling_errors
from sslpairs.data.class_files import ClassFiles, Finished, Limits, Place, Placed, Root, Total
from sslpairs.data.class_tables import shard_root, table_root, wnid_classes
from sslpairs.data.hub import Hub, hub_folder, hub_splits
from sslpairs.data.imagenet_archives import TrainArchive, TrainArchives, ValArchive
from sslpairs.data.memory import in_bytes
from sslpairs.data.names import shown
from sslpairs.data.official import first, not_original
from sslpairs.data.progress import say
from sslpairs.data.sources import Entry, Opened
from sslpairs.data.wnids import WNID, another_list, validation_labels, wnids
from sslpairs.errors import UserError

TABLES = Hub(HUB, test="val")
TARS = Hub(SHARDS, folder="", test="val", suffixes=(".tar",), pattern="imagenet1k-*")
"""Made from TensorFlow Datasets' copy, in which 22 CMYK images and the PNG are saved again: all others should be the authors' files. Its
keys are names of files in a set made from it; not verified, nor those of the validation split."""
SPLITS = dict.fromkeys(TRAIN_FOLDERS, "train") | dict.fromkeys(VAL_FOLDERS, "test")
NAMES = {
    "train": re.compile(r"(?P<wnid>n\d{8})_(?P<number>\d+)(?:_(?P<stated>n\d{8}))?(?P<suffix>\.\w+)", re.IGNORECASE),
    "test": re.compile(r"ILSVRC2012_val_(?P<number>\d{8})(?:_(?P<stated>n\d{8}))?(?P<suffix>\.\w+)", re.IGNORECASE),
}
"""Names of files; older copies repeat the class after the number."""
IMAGES = dict(zip(("train", "test"), ImageNetSettings.official, strict=True))
"""Number of images of the whole of ImageNet."""
RESIZED = (0.7, 1.4)
"""Mean bytes of a file in any hundred classes, as shares of the mean of all, outside of which the files are probably others."""


@dataclass(frozen=True, eq=False)
class Part:
    """One split or both in one form."""

    form: str
    entries: Callable[[Sequence[str], Finished], Iterator[Entry]]
    """Reads the images of some classes."""
    seen: set[str] | None = None
    """Classes of the training split; None if they are known only when it is read."""
    count: Callable[[str, Sequence[str]], int | None] = lambda *_: None
    """Images of a split and of some classes, within the limits, if they are known before they are read."""


@dataclass(frozen=True)
class Request:
    """What is to be opened."""

    where: str
    source: PublishedSource
    which: str
    """The list of classes: 'imagenet' or 'imagenet100'."""
    wanted: list[str]
    place: Place

    @property
    def limits(self) -> Limits:
        """Maximum number of images per class."""
        return {"train": self.source.train_per_class, "test": self.source.test_per_class}

    @property
    def official(self) -> dict[str, int | None]:
        """The authors' numbers, if those are what is to be read."""
        numbers = self.source.official if self.source.original else (None, None)
        return dict(zip(("train", "test"), numbers, strict=True))

    def stated(self, split: str, _: Sequence[str]) -> int | None:
        """The number of images, if it is the authors'."""
        return None if self.limits[split] else self.official[split]

    def known(self, file: RemoteFile) -> RemoteFile | None:
        """What is on record about an archive, if it is to be compared."""
        return file if self.source.original else None


def open_imagenet(name: str, source: PublishedSource, path: Path, which: str) -> Opened:
    """Find the forms in which the splits lie at ``path``; ``which`` is the list of classes, 'imagenet' or 'imagenet100'."""
    where = f"data set '{name}': {shown(str(path))}"
    place = partial(_place, where, source.original, wnids("imagenet"), validation_labels().tolist())
    request = Request(where, source, which, wnids(which), place)
    with telling_errors(where):
        parts = _parts(request, name, path)
    seen = parts["train"].seen
    classes = _classes(request, seen)
    counted = {split: part.count(split, classes) for split, part in parts.items()}
    if empty := [split for split, count in counted.items() if count == 0]:
        raise UserError(
            f"{where}: the {'training' if 'train' in empty else 'validation'} split has no images of its classes; add it"
        )
    unique = list(dict.fromkeys(parts.values()))

    def entries() -> Iterator[Entry]:
        for part in unique:
            yield from part.entries(classes, partial(_finished, request))

    form = ", ".join(part.form for part in reversed(unique))
    if seen is not None and len(seen) > len(classes):
        form = f"{len(classes)} of {len(seen):,} classes in {form}"
    counted = None if None in counted.values() else counted
    return Opened(where, classes, entries=entries, counted=counted, storage=source.storage, form=form)


# --- what there is ----------------------------------------------------------------------------------------------------


def _parts(request: Request, name: str, path: Path) -> dict[str, Part]:
    """The validation split is read first: it is smaller, and tells most of what can be wrong."""
    if not path.exists():
        raise UserError(f"{request.where}: there is no such file or folder; correct 'path' in config/datasets.yaml")
    say(f"{name}: reading the list of files in {shown(path.name)}")
    copied = any(copy.has(path) for copy in (TABLES, TARS))
    if path.is_file() and not copied and not any(_archive(path, file) for file in (TRAIN, VAL)):
        return dict.fromkeys(("test", "train"), _tree(request, path))
    folder = path if path.is_dir() or copied else path.parent
    train, val = _train(request, folder), _val(request, folder)
    if train and val:
        return {"test": val, "train": train}
    if not train and not val and (archive := first(folder, KAGGLE)):
        return dict.fromkeys(("test", "train"), _tree(request, archive))
    if not train and not val and (copy := _copy(request, folder)):
        return dict.fromkeys(("test", "train"), copy)
    if request.which == "imagenet100" and (found := {one.name for one in folder.glob("train.X*/n*")}):
        raise UserError(
            f"{request.where}: this is Kaggle's ambityga/imagenet100, {another_list(found, request.wanted)}; "
            f"give any form of ImageNet instead: {TRAIN.name} and {VAL.name}, or train/ and val/"
        )
    lacking = f"there is no {'validation' if train else 'training'} split" if train or val else "none of its forms is"
    raise UserError(
        f"{request.where}: {lacking} in it; give the path of a folder that holds {TRAIN.name} or train/<class>/, and "
        f"{VAL.name} or val/, where classes are named like n01440764 (docs/data.md)"
    )


def _train(request: Request, folder: Path) -> Part | None:
    where, limit = request.where, request.limits["train"]
    if path := _archive(folder, TRAIN):
        whole = request.which == "imagenet"
        tar = TrainArchive(f"{where}: {path.name}", path, request.known(TRAIN), request.place, limit, whole)
        return Part(tar.form, tar.entries, tar.seen, request.stated)
    root = _folder(request, folder, TRAIN_FOLDERS)
    if root and not any(WNID.fullmatch(one) for one in os.listdir(root)) and next(root.glob("n*.tar"), None):
        tars = TrainArchives(where, root, request.place, limit)
        return Part(_counted(request, f"{root.name}/*.tar"), tars.entries, tars.seen, request.stated)
    return _files(request, folder, root)


def _val(request: Request, folder: Path) -> Part | None:
    if path := _archive(folder, VAL):
        where, limit = f"{request.where}: {path.name}", request.limits["test"]
        names = (f"ILSVRC2012_val_{number:08}.JPEG" for number in range(1, len(validation_labels()) + 1))
        tar = ValArchive(where, path, request.known(VAL), request.place, limit, names)
        return Part(tar.form, lambda classes, _: tar.entries(classes), None, request.stated)
    return _files(request, folder, _folder(request, folder, VAL_FOLDERS))


def _archive(path: Path, file: RemoteFile) -> Path | None:
    return first(path, [file.name + suffix for suffix in COMPRESSED])


def _folder(request: Request, folder: Path, names: tuple[str, ...]) -> Path | None:
    """The folder of a split with the most of the wanted classes, or of ImageNet's."""
    wanted, all_classes = set(request.wanted), set(wnids("imagenet"))

    def classes(root: Path) -> tuple[int, int]:
        inside = [one.name for one in os.scandir(root)]
        other = sum(one.isdecimal() or one.startswith("ILSVRC2012_val_") for one in inside)
        return sum(one[:9] in wanted for one in inside), sum(one[:9] in all_classes for one in inside) + other

    roots = [root for tree in TREES for name in names for root in sorted(folder.glob(tree + name)) if root.is_dir()]
    found = [(classes(root), -at, root) for at, root in enumerate(dict.fromkeys(roots))]
    return max(found)[2] if found and any(max(found)[0]) else None


def _files(request: Request, folder: Path, root: Path | None) -> Part | None:
    """A split as files in folders of classes, of which only the wanted ones are searched, or in one."""
    if root is None:
        return None
    prefix = root.relative_to(folder).as_posix() + "/"
    folders = {one for one in os.listdir(root) if WNID.fullmatch(one)}
    roots = [Root(f"{prefix}{wnid}/", root / wnid, 1) for wnid in request.wanted if wnid in folders]
    if broken := next((one for one in roots if not one.path.is_dir()), None):
        raise UserError(f"{request.where}: {broken.prefix} is no folder, nor a link to one that exists; put it there")
    files = ClassFiles(request.where, roots if folders else [Root(prefix, root, 2)], request.place, request.limits)
    return Part(_counted(request, prefix), files.entries, folders or set(files.counts["train"]), files.kept)


def _tree(request: Request, path: Path) -> Part:
    """Both splits in an archive of such folders. One that can only be read from the beginning is read just once, if possible."""
    once = stored_as(path) != "zip" and request.source.original and not any(request.limits.values())
    files = ClassFiles(request.where, [Root("", path)], request.place, request.limits, survey=not once)
    seen = None if once else set(files.counts["train"])
    return Part(_counted(request, path.name), files.entries, seen, request.stated if once else files.kept)


def _copy(request: Request, folder: Path) -> Part | None:
    """Both splits of a copy on the Hugging Face Hub."""
    where, original = request.where, request.source.original
    classes = partial(wnid_classes, where, wnids("imagenet"))
    if found := hub_folder(where, folder, TABLES):
        root = table_root(where, hub_splits(where, found, TABLES), classes, original)
        form = f"{TABLES.repository}'s parquet files"
    elif found := hub_folder(where, folder, TARS):
        if original:
            raise UserError(not_original(f"{where}: in {TARS.repository}'s shards 23 images were saved again"))
        root = shard_root(where, hub_splits(where, found, TARS), classes, original)
        form = f"{TARS.repository}'s shards"
    else:
        return None
    files = ClassFiles(where, [root], request.place, request.limits, survey=True)
    return Part(_counted(request, form), files.entries, set(files.counts["train"]), files.kept)


def _counted(request: Request, form: str) -> str:
    checks = "numbers and names compared, no digests on record" if request.source.original else "not verified"
    return f"{form} ({checks})"


# --- whether it is complete -------------------------------------------------------------------------------------------


def _classes(request: Request, seen: set[str] | None) -> list[str]:
    """The classes to read: all that are wanted or, of a part, those that are there."""
    wanted = request.wanted
    there = [wnid for wnid in wanted if seen is None or wnid in seen]
    if len(there) == len(wanted):
        return wanted
    if request.which == "imagenet100" and len(seen) == len(wanted):
        raise UserError(
            f"{request.where}: {another_list(seen, wanted)}; ImageNet-100 is CMC's list here: give any form of ImageNet, or use "
            "kind: image-folder for other classes"
        )
    if request.source.original or not there:
        missing = [wnid for wnid in wanted if wnid not in seen]
        hint = "; these are the classes of kind: imagenet100" if seen == set(wnids("imagenet100")) else ""
        raise UserError(
            not_original(
                f"{request.where}: {len(missing):,} of the {len(wanted):,} classes are missing in the training split, the first "
                f"one is {missing[0]}{hint}"
            )
        )
    return there


def _finished(request: Request, split: str, total: Total) -> None:
    """UserError if what was read of a split cannot be the authors' files."""
    number = request.official[split]
    if number is None:
        return
    if total.images != number:
        raise UserError(
            not_original(f"{request.where}: {split}: {number:,} images expected, but it has {total.images:,}")
        )
    if total.bytes is None:
        return
    low, high = bytes_of_files(split)
    if request.which == "imagenet":
        if not low <= total.bytes <= high:
            raise UserError(
                not_original(
                    f"{request.where}: {split}: the files have {in_bytes(total.bytes)} in all, and the authors' {in_bytes(high)}: "
                    "they were resized or saved again"
                )
            )
        return
    share = total.bytes / number / (high / IMAGES[split])
    if not RESIZED[0] < share < RESIZED[1]:
        say(
            f"warning: {request.where}: {split}: the files have {share:.0%} of the bytes that ImageNet's have on average: if they were "
            "resized or saved again, set 'original: false' under their source in config/datasets.yaml"
        )


def bytes_of_files(split: str) -> tuple[int, int]:
    """The least and the most bytes that all files of a split can have, by the size of the authors' archive.

    A file in a tar has a header of 512 bytes, up to 511 bytes after it, and perhaps 1,024 that describe it; an archive ends with 1,024
    zeros and is filled up to a multiple of 10,240. In that of the training split there is one for each class. The bounds are 1.3 %
    apart; that the archives hold nothing else was not verified.
    """
    size, images = (TRAIN if split == "train" else VAL).bytes, IMAGES[split]
    inner = len(wnids("imagenet")) if split == "train" else 0
    return size - inner * (512 + 11_264) - 11_264 - images * 2047, size - inner * (512 + 1024) - 1024 - images * 512


# --- where an image belongs -------------------------------------------------------------------------------------------


def _place(where: str, original: bool, classes: list[str], labels: list[int], name: str) -> Placed | None:
    """By the folder, by the class in the name of a training image, by the number of a validation image: they must agree."""
    *folders, file = name.split("/")
    split = next((SPLITS[folder] for folder in reversed(folders) if folder in SPLITS), None)
    if split is None or not is_image(file):
        return None
    folder, match = folders[-1], NAMES[split].fullmatch(file)
    if folder.isdecimal():
        raise UserError(
            f"{where}: {shown(name)}: this folder has a number, which may be the development kit's ID of a class or an index: they "
            "differ; name it by its class, such as n01440764, or put all validation images into val/ itself"
        )
    in_class = WNID.fullmatch(folder) is not None
    if match and original and match["suffix"].lower() not in (".jpeg", ".jpg"):
        match = None
    if match is None or (split == "test" and not 1 <= int(match["number"]) <= len(labels)):
        if original or not in_class:
            example = "n01440764_10026.JPEG" if split == "train" else "ILSVRC2012_val_00000001.JPEG"
            raise UserError(not_original(f"{where}: {shown(name)} is not called like the authors' files ({example})"))
        return Placed(split, folder, f"{PurePosixPath(file).stem}.JPEG")
    number, stated = match["number"], match["stated"]
    wnid = match["wnid"] if split == "train" else classes[labels[int(number) - 1]]
    for other in (folder if in_class else None, stated):
        if other not in (None, wnid):
            raise UserError(f"{where}: {shown(name)} is sorted into {other}, but belongs to {wnid}; unpack it again")
    return Placed(split, wnid, f"{wnid}_{number}.JPEG" if split == "train" else f"ILSVRC2012_val_{number}.JPEG")
