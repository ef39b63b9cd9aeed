"""SVHN: the authors' MATLAB files of cropped digits, or the copy of their pixels on the Hugging Face Hub."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sslpairs.config.sources.svhn import COUNTS, FILES, HUB, SVHNSettings
from sslpairs.data.archives import telling_errors
from sslpairs.data.hub import Hub, hub_folder, hub_pixels
from sslpairs.data.memory import free_memory, in_bytes
from sslpairs.data.names import shown
from sslpairs.data.official import first, verify
from sslpairs.data.pixels import in_order_of_pixels
from sslpairs.data.sources import Opened, get_instead
from sslpairs.errors import UserError

COPY = Hub(HUB, "cropped_digits", "label")
"""Its labels count from 0, the digit itself."""
DIGITS = list("0123456789")
SIDE = 32
PIXELS = 3 * SIDE * SIDE
MOST = 2_000_000
"""Maximum number of images in a file that is not the authors' own."""


def open_source(name: str, source: SVHNSettings, path: Path) -> Opened:
    """The two or three files, in the order of labels and pixels. UserError if one is missing or not what it should be."""

    def named(found: Path) -> str:
        return f"data set '{name}': {shown(str(found))}"

    folder = path.parent if path.is_file() else path
    if not first(folder, (FILES["train"].name,)) and (copy := hub_folder(named(path), path, COPY)):
        if source.extra:
            raise UserError(
                f"{named(copy)}: the extra images are read from {FILES['extra'].name} only; get it, with the others: sslpairs fetch {name}"
            )
        arrays, form = hub_pixels(named(copy), source, copy, COPY, SIDE, DIGITS)
        return in_order_of_pixels(named(copy), source, DIGITS, arrays, form)
    files = {}
    for part in ("train", "test", *["extra"] * source.extra):
        file = first(folder, (FILES[part].name,))
        if file is None:
            raise UserError(_missing(named(path), name, folder, FILES[part].name))
        if source.original:
            verify(named(file), file, [FILES[part]])
        files[part] = file, _count(named(file), file, part, source)
    arrays = {}
    for split, parts in {"train": ["train", *["extra"] * source.extra], "test": ["test"]}.items():
        counts = [files[part][1] for part in parts]
        _check_memory(named(folder), sum(counts), max(counts))
        images, labels, at = np.empty((sum(counts), 3, SIDE, SIDE), np.uint8), np.empty(sum(counts), np.int64), 0
        for part, count in zip(parts, counts, strict=True):
            file = files[part][0]
            images[at : at + count], labels[at : at + count] = _read(named(file), file, count)
            at += count
        arrays[split] = images, labels
    read = ", ".join(FILES[part].name for part in files)
    form = f"{read} ({'sha256 verified' if source.original else 'not verified'})"
    return in_order_of_pixels(named(folder), source, DIGITS, arrays, form)


def _missing(where: str, name: str, folder: Path, file: str) -> str:
    if first(folder, ("digitStruct.mat", "train.tar.gz", "test.tar.gz")):
        what = "these are the full numbers (format 1), and the cropped digits (format 2) are read"
    else:
        return f"{where}: there is no {file} in it; put it there, or move what is there away: then `sslpairs fetch {name}` downloads it"
    return f"{where}: {what}; {get_instead(name, file)}"


def _count(where: str, file: Path, part: str, source: SVHNSettings) -> int:
    """The number of images according to the file's header: nothing else is read yet."""
    from scipy.io import whosmat

    shapes = {variable: (shape, kind) for variable, shape, kind in _told(where, whosmat, file)}
    shape, kind = shapes.get("X", ((), ""))
    count = shape[3] if len(shape) == 4 else 0
    most = COUNTS[part] if source.original else MOST
    if (
        (*shape[:3], kind) != (SIDE, SIDE, 3, "uint8")
        or shapes.get("y", [()])[0] != (count, 1)
        or not 0 < count <= most
    ):
        raise UserError(
            f"{where}: it should hold X, uint8 of shape 32 x 32 x 3 x N, and y of shape N x 1; found "
            f"{', '.join(f'{shown(v)} {k} of shape {s}' for v, (s, k) in sorted(shapes.items())[:4]) or 'nothing'}; get it again"
        )
    return count


def _read(where: str, file: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 ``[N, C, H, W]`` (a view), and labels int64 ``[N]``, where 10 stands for the digit 0."""
    from scipy.io import loadmat

    found = _told(where, loadmat, file, variable_names=["X", "y"])
    labels = found["y"].reshape(-1).astype(np.int64)
    if found["X"].shape != (SIDE, SIDE, 3, count) or found["X"].dtype != np.uint8 or labels.shape != (count,):
        raise UserError(f"{where}: its arrays are not those that its header states; get it again")
    if labels.min() < 1 or labels.max() > 10:
        raise UserError(f"{where}: labels from {labels.min()} to {labels.max()} instead of 1 to 10; get it again")
    return found["X"].transpose(3, 2, 0, 1), labels % 10


def _told(where: str, read: Callable, file: Path, **options) -> Any:
    """What a function of scipy reads; UserError if it cannot."""
    with telling_errors(where):
        try:
            return read(str(file), appendmat=False, **options)
        except (OSError, MemoryError, EOFError):
            raise
        except Exception as error:  # on damaged bytes scipy raises nearly anything
            raise UserError(
                f"{where} cannot be read as a MATLAB file ({' '.join(str(error).split())[:200]}); get it again"
            ) from error


def _check_memory(where: str, images: int, largest: int) -> None:
    """One file after the other is decompressed as a whole, beside the split that it is copied into."""
    needed, free = (images + largest) * PIXELS, free_memory()
    if needed > free:
        raise UserError(
            f"{where}: reading it takes {in_bytes(needed)} of memory, but only {in_bytes(free)} are free; use a machine with more, or "
            "leave the extra images out"
        )
