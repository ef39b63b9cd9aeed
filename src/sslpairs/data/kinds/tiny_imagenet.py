"""Tiny ImageNet in all forms of its files: the archive, its folder, re-sorted folders, archives of these, and a copy in parquet files.

Images have the authors' names in every form, and so the same order. Labels are indices of the sorted WordNet IDs, not of
``wnids.txt``. The test split has no labels, and is not read.
"""

import re
from functools import partial
from pathlib import Path, PurePosixPath

from sslpairs.config.sources.tiny_imagenet import ARCHIVE, HUB, TinyImageNetSettings
from sslpairs.data.archives import is_image, members, telling_errors
from sslpairs.data.class_files import ClassFiles, Placed, Root
from sslpairs.data.class_tables import table_root, wnid_classes
from sslpairs.data.hub import Hub, check_original, hub_folder, hub_splits
from sslpairs.data.names import shown
from sslpairs.data.official import first, not_original, verified_by, verify
from sslpairs.data.sources import Opened
from sslpairs.data.wnids import WNID, wnids
from sslpairs.errors import UserError

COPY = Hub(HUB, test="val")
NAMES = {"train": re.compile(r"(n\d{8})_\d+"), "test": re.compile(r"val_\d+")}
SPLITS = {"train": "train", "val": "test"}
ANNOTATIONS = "val_annotations.txt"
"""A line for each validation image: its name, its class and a box, separated by tabs."""
DEPTH = 3
"""Levels below the folder of a split: <class>/images/<file>."""


def open_source(name: str, source: TinyImageNetSettings, path: Path) -> Opened:
    """Any of its forms, in the order of labels and of the authors' file names."""
    where = f"data set '{name}': {shown(str(path))}"
    limits = {"train": source.train_per_class, "test": source.test_per_class}
    with telling_errors(where):
        if not path.exists():
            raise UserError(f"{where}: there is no such file or folder; correct 'path' in config/datasets.yaml")
        archive = path if path.is_file() and not COPY.has(path) else first(path, (ARCHIVE.name,))
        if archive and archive != path:
            where = f"{where}: {archive.name}"
        roots, form = _archive(where, source, archive) if archive else _folders(where, source, path)
        files = ClassFiles(where, roots, partial(_place, where, source.original, _annotated(where, roots)), limits)
    wanted = _classes(where, source, files)
    counted = {split: files.kept(split, wanted) for split in limits}
    entries = partial(files.entries, wanted)
    return Opened(where, wanted, entries=entries, counted=counted, storage=source.storage, form=form)


def _archive(where: str, source: TinyImageNetSettings, path: Path) -> tuple[list[Root], str]:
    form = verified_by(verify(where, path, [ARCHIVE])) if source.original else f"{path.name} (not verified)"
    return [Root("", path)], form


def _folders(where: str, source: TinyImageNetSettings, path: Path) -> tuple[list[Root], str]:
    wanted = set(wnids("tiny_imagenet"))
    folders = [train.parent for tree in ("", "*/") for train in sorted(path.glob(f"{tree}train")) if train.is_dir()]
    found = {one: sum(inside.name in wanted for inside in (one / "train").iterdir()) for one in folders}
    folder = max(found, key=found.get, default=None)
    if not folder or not found[folder]:
        if copy := hub_folder(where, path, COPY):
            check_original(where, source)
            classes = partial(wnid_classes, where, wnids("tiny_imagenet"))
            root = table_root(where, hub_splits(where, copy, COPY), classes, source.original)
            return [root], f"{HUB}'s parquet files (not verified)"
        raise UserError(
            f"{where}: none of the forms of Tiny ImageNet is in it; give the path of {ARCHIVE.name}, of tiny-imagenet-200/ or of a "
            "folder with train/<class>/ and val/, where classes are named like n01443537 (docs/data.md)"
        )
    if not (folder / "val").is_dir():
        raise UserError(f"{where}: there is no val/ beside train/; get it again: the test split has no labels")
    checks = "numbers and names compared, no digests on record" if source.original else "not verified"
    return [Root("val/", folder / "val", DEPTH), Root("train/", folder / "train", DEPTH)], f"{folder.name}/ ({checks})"


def _annotated(where: str, roots: list[Root]) -> dict[str, str]:
    """Validation image -> class, from the list of the authors; empty if there is none."""
    root, lines = roots[0], []
    for member in members(where, root.path, lambda name: name.rpartition("/")[2] == ANNOTATIONS, root.depth and 1):
        if member.data is not None:
            lines += member.data.decode("utf-8", "replace").splitlines()
    fields = [line.split("\t") for line in lines if line.strip()]
    if any(len(one) < 2 or not WNID.fullmatch(one[1]) for one in fields):
        raise UserError(f"{where}: {ANNOTATIONS} is not a list of names and classes; get it again")
    return {one[0].rpartition(".")[0]: one[1] for one in fields}


def _place(where: str, original: bool, annotated: dict[str, str], name: str) -> Placed | None:
    """Training images belong to their folder; validation images to their folder, the authors' list, or both."""
    *folders, file = name.split("/")
    split = next((SPLITS[folder] for folder in folders if folder in SPLITS), None)
    if split is None or not is_image(file):
        return None
    stem = PurePosixPath(file).stem
    match = NAMES[split].fullmatch(stem)
    if original and match is None:
        example = "n01443537_0.JPEG" if split == "train" else "val_0.JPEG"
        raise UserError(not_original(f"{where}: {shown(name)} is not called like the authors' files ({example})"))
    sorted_into = next((folder for folder in reversed(folders) if WNID.fullmatch(folder)), None)
    belongs = annotated.get(stem) if split == "test" else match and match[1]
    if sorted_into and belongs and sorted_into != belongs:
        raise UserError(
            f"{where}: {shown(name)} is sorted into {sorted_into}, but belongs to {belongs}; unpack it again"
        )
    if not sorted_into and not belongs:
        raise UserError(
            f"{where}: {shown(name)} is in the folder of no class"
            + (
                f", and {ANNOTATIONS}, which tells it, is not there; get it again"
                if split == "test"
                else "; get it again"
            )
        )
    return Placed(split, sorted_into or belongs, f"{stem}.JPEG")


def _classes(where: str, source: TinyImageNetSettings, files: ClassFiles) -> list[str]:
    """The classes, all with as many images as the authors'; for a part, those that are there."""
    wanted = wnids("tiny_imagenet")
    train = files.counts["train"]
    there = [wnid for wnid in wanted if train[wnid]]
    if not source.original and there:
        if not files.kept("test", there):
            raise UserError(f"{where}: val/ has no images of its classes; add them")
        return there
    if len(there) < len(wanted):
        missing = next(wnid for wnid in wanted if wnid not in there)
        raise UserError(
            not_original(
                f"{where}: {len(wanted) - len(there)} of the {len(wanted)} classes are missing, such as {missing}"
            )
        )
    if other := sorted(train.keys() - set(wanted)):
        raise UserError(not_original(f"{where}: {shown(other[0])} is not one of its classes"))
    for split, number in zip(("train", "test"), source.official, strict=True):
        for wnid in wanted:
            if (count := files.counts[split][wnid]) != (expected := number // len(wanted)):
                raise UserError(
                    not_original(f"{where}: {split}: {wnid} has {count:,} images, and the authors' {expected:,}")
                )
    return wanted
