"""STL-10: the authors' binary archive, or the folder unpacked from it, in the authors' order."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.stl10 import ARCHIVE, FOLD, LABELLED, TEST, UNLABELED, STL10Settings
from sslpairs.data.archives import telling_errors
from sslpairs.data.memory import free_memory, in_bytes
from sslpairs.data.names import shown
from sslpairs.data.official import blocks, first, first_per_class, read_exact, verified_by, verify
from sslpairs.data.pixels import check_labels, rows_at_once
from sslpairs.data.progress import say
from sslpairs.data.sources import UNLABELLED, Opened, get_instead
from sslpairs.errors import UserError

CLASSES = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
SIDE = 96
PIXELS = 3 * SIDE * SIDE
FOLDS = "fold_indices.txt"
MEMBERS = {
    file.name: file
    for file in (
        RemoteFile("train_X.bin", (), LABELLED * PIXELS, md5="918c2871b30a85fa023e0c44e0bee87f"),
        RemoteFile("train_y.bin", (), LABELLED, md5="5a34089d4802c674881badbb80307741"),
        RemoteFile("test_X.bin", (), TEST * PIXELS, md5="7f263ba9f9e0b06b93213547f721ac82"),
        RemoteFile("test_y.bin", (), TEST, md5="36f9794fa4beb8a2c72628de14fa638e"),
        RemoteFile("unlabeled_X.bin", (), UNLABELED * PIXELS, md5="5242ba1fed5e4be9e1e742405eb56ca4"),
    )
}
"""What is read of it. No digest of the folds is on record."""


def open_source(name: str, source: STL10Settings, path: Path) -> Opened:
    """The archive, read in one pass, or its unpacked folder, in pieces. UserError if it is neither, or not complete."""

    def named(found: Path) -> str:
        return f"data set '{name}': {shown(str(found))}"

    needed = [file for file in MEMBERS if source.unlabeled or file != "unlabeled_X.bin"]
    needed += [FOLDS] if source.fold is not None else []
    folder, archive = _folder(path), path if path.is_file() else first(path, (ARCHIVE.name,))
    if folder and not (archive and any(not (folder / file).is_file() for file in needed)):
        where, form = named(folder), f"{folder.name}/ ({'md5 verified' if source.original else 'not verified'})"
        if source.original and source.fold is not None:
            form += f", {FOLDS} (no digest on record)"
        found = _mapped(where, folder, source, needed)
    elif archive:
        where = named(archive)
        form = verified_by(verify(where, archive, [ARCHIVE])) if source.original else f"{archive.name} (not verified)"
        found = _unpacked(where, archive, source, needed)
    else:
        raise UserError(_unknown(named(path), name, path))
    return _opened(where, source, found, form)


def _folder(path: Path) -> Path | None:
    if found := first(path, ("train_X.bin",)) if path.is_dir() else None:
        return found.parent
    return found if (found := first(path, ("stl10_binary",))) and found.is_dir() else None


def _unknown(where: str, name: str, path: Path) -> str:
    if first(path, ("stl10_matlab*", "unlabeled.mat", "train.mat")):
        return f"{where}: the .mat files are not read; {get_instead(name, ARCHIVE.name)}"
    if first(path, ("*.parquet",)):
        return f"{where}: parquet files are not read, and lack the unlabelled images; {get_instead(name, ARCHIVE.name)}"
    if first(path, ("train",)):
        return (
            f"{where}: these are class folders, not the authors' files; {get_instead(name, ARCHIVE.name)}, or use "
            "kind: image-folder for them"
        )
    return f"{where}: STL-10 is not in it; give the path of {ARCHIVE.name}, of stl10_binary/ or of the folder that holds it"


def _mapped(where: str, folder: Path, source: STL10Settings, needed: list[str]) -> dict[str, np.ndarray]:
    """The bytes of the files, which stay on disk until they are used."""
    found = {}
    for name in needed:
        with telling_errors(where):
            if not (folder / name).is_file():
                raise UserError(f"{where}: there is no {name} in it; unpack {ARCHIVE.name} again")
            size = (folder / name).stat().st_size
            known = MEMBERS.get(name, RemoteFile(name, ()))
            if source.original and known.bytes not in (None, size):
                raise UserError(f"{where}: {name} has {size:,} bytes instead of {known.bytes:,}; unpack it again")
            if source.original and known.digest:
                verify(f"{where}/{name}", folder / name, [known])
            if name == FOLDS:
                found |= read_exact(where, folder, {name: None})
            else:
                found[name] = np.memmap(folder / name, np.uint8, "r") if size else np.empty(0, np.uint8)
    return found


def _unpacked(where: str, archive: Path, source: STL10Settings, needed: list[str]) -> dict[str, np.ndarray]:
    """The bytes of the files, in memory: an archive is read once."""
    sizes = {name: MEMBERS[name].bytes if name in MEMBERS else None for name in needed}
    total, free = sum(filter(None, sizes.values())), free_memory()
    if source.original and total > free:
        raise UserError(
            f"{where}: it takes {in_bytes(total)} of memory, but only {in_bytes(free)} are free; unpack it "
            "(tar -xzf), and give the path of stl10_binary/, which is read in pieces"
        )
    if total > 1 << 30:
        say(f"{where}: unpacking {in_bytes(total)} in memory")
    if source.original:
        return read_exact(where, archive, sizes)
    return read_exact(where, archive, dict.fromkeys(needed), UNLABELED * PIXELS)


def _opened(where: str, source: STL10Settings, found: dict[str, np.ndarray], form: str) -> Opened:
    labels, images = {}, {}
    for split in ("train", "test"):
        images[split] = [_images(where, f"{split}_X.bin", found)]
        labels[split] = found[f"{split}_y.bin"].astype(np.int64) - 1  # 1 to 10 in the file
        if len(labels[split]) != len(images[split][0]):
            raise UserError(f"{where}: {split}: {len(images[split][0]):,} images, but {len(labels[split]):,} labels")
        check_labels(where, split, labels[split], len(CLASSES))
    if source.fold is not None:
        kept = _fold(where, found[FOLDS].tobytes(), source, len(labels["train"]))
        labels["train"][np.setdiff1d(np.arange(len(labels["train"])), kept)] = UNLABELLED
    if source.unlabeled:
        images["train"].append(_images(where, "unlabeled_X.bin", found))
        labels["train"] = np.concatenate([labels["train"], np.full(len(images["train"][1]), UNLABELLED)])
    limits = {"train": source.train_per_class, "test": source.test_per_class}
    rows = {split: first_per_class(labels[split], limits[split]) for split in labels}

    def read(split: str) -> Iterator[np.ndarray]:
        begin = 0
        for part in images[split]:
            inside = rows[split][(rows[split] >= begin) & (rows[split] < begin + len(part))] - begin
            # The files hold each channel column by column.
            yield from (block.swapaxes(2, 3) for block in blocks(part, inside, rows_at_once(PIXELS)))
            begin += len(part)

    return Opened(where, CLASSES, {split: labels[split][rows[split]] for split in labels}, read, form=form)


def _images(where: str, name: str, found: dict[str, np.ndarray]) -> np.ndarray:
    """uint8 ``[N, C, W, H]``."""
    if len(found[name]) % PIXELS:
        raise UserError(
            f"{where}: {name} has {len(found[name]):,} bytes, which is no whole number of images of {PIXELS:,}"
        )
    return found[name].reshape(-1, 3, SIDE, SIDE)


def _fold(where: str, text: bytes, source: STL10Settings, labelled: int) -> np.ndarray:
    """The indices of a fold's images: one fold a line, numbers from 0."""
    try:
        kept = np.array([int(word) for word in text.decode("ascii").split("\n")[source.fold].split()], np.int64)
    except (ValueError, IndexError, OverflowError):
        kept = np.empty(0, np.int64)
    right = len(kept) == FOLD if source.original else len(kept) > 0
    if not right or len(np.unique(kept)) < len(kept) or kept.min() < 0 or kept.max() >= labelled:
        raise UserError(
            f"{where}: {FOLDS}: line {source.fold + 1} is not {FOLD:,} different numbers below {labelled:,}; get it again"
        )
    return kept
