"""Prepared data sets, ``data/<name>/``: four .npy files and a receipt. They are whole, or they are absent."""

import fcntl
import hashlib
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from sslpairs.config.datasets import Dataset, Digits, ImageFolder
from sslpairs.data.sources import read
from sslpairs.errors import Unreadable, UserError
from sslpairs.files import canonical, sha256_file, unsealed, unwritable, write_record

FORMAT = 1
KEYS = frozenset(
    {"format", "name", "title", "content", "classes", "mean", "std", "image", "counts", "files", "source"},
)
_held: set[Path] = set()
T = TypeVar("T")


def prepare(name: str, dataset: Dataset, root: Path) -> dict:
    """Read the source and write ``root/data/<name>/``; returns the receipt, which is also ``dataset.json`` there.

    The same source gives the same bytes. Raises UserError for a source that cannot be used, and see ``place``.
    """

    def fill(folder: Path) -> dict:
        splits, classes = read(name, dataset, root)
        return _write(folder, name, dataset, splits, classes)

    return place(name, root, fill)


def place(name: str, root: Path, fill: Callable[[Path], T]) -> T:
    """Let ``fill`` write the files of ``root/data/<name>/`` into a folder; returns what it returns.

    All is written beside the final place and moved there by renaming: after an error, Ctrl-C, SIGTERM or on a full
    disk, what was prepared before is still there, and nothing else.
    Raises UserError for a disk that cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(
            f"data set '{name}': this name cannot be a folder's; use letters, digits, '-', '_' and '.', "
            "and begin with a letter or digit (config/datasets.yaml)"
        )
    data = root / "data"
    work = data / f".preparing-{name}-{os.getpid()}"
    with locked(root), _sigterm_raises():
        _remove_leftovers(data)
        try:
            (work / "new").mkdir(parents=True)
            found = fill(work / "new")
            _swap(work / "new", data / name, work / "old")
        except OSError as error:  # those of the source are UserErrors already
            raise UserError(unwritable(data, error)) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return found


def source_record(source: Digits | ImageFolder) -> dict:
    """The source as receipts keep it: all settings, but of the path only the file name, as machines differ in it."""
    record = source.model_dump()
    if isinstance(source, ImageFolder):
        record["path"] = Path(source.path).name
    return record


def content_hash(arrays: dict[str, np.ndarray], classes: list[str]) -> str:
    """Hex sha256 of what a training sees: arrays (in the order of their names) with dtypes and shapes, and classes.

    It depends neither on the data set's name nor on how or where the arrays are stored.
    """
    ordered = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    ordered = {name: a.astype(a.dtype.newbyteorder("<"), copy=False) for name, a in ordered.items()}
    header = {"classes": classes, "arrays": [[name, a.dtype.str, list(a.shape)] for name, a in ordered.items()]}
    digest = hashlib.sha256(canonical(header).encode())
    for array in ordered.values():
        digest.update(array.data)
    return digest.hexdigest()


def read_receipt(name: str, root: Path, folder: Path | None = None) -> dict | None:
    """The receipt of a prepared data set, None where there is none; UserError where it is damaged."""
    path = (folder or root / "data" / name) / "dataset.json"
    try:
        receipt = unsealed(path.read_bytes())
        if not receipt.keys() >= KEYS:
            raise ValueError(f"it lacks {', '.join(sorted(KEYS - receipt.keys()))}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unreadable(unwritable(path, error, "read")) from None
    except ValueError as error:
        raise UserError(f"data set '{name}': {path} is damaged ({error}); {_again(name)}") from error
    return receipt


def verify(name: str, root: Path, folder: Path | None = None) -> dict:
    """Compare every prepared file with the digest in the receipt, which it returns; UserError names the first that differs."""
    folder = folder or root / "data" / name
    receipt = read_receipt(name, root, folder)
    if receipt is None:
        raise UserError(f"data set '{name}' is not prepared; run: sslpairs fetch {name}")
    for file, expected in receipt["files"].items():
        path = folder / file
        if not path.is_file():
            raise UserError(f"data set '{name}': {path} is missing; {_again(name)}")
        if sha256_file(path) != expected["sha256"]:
            raise UserError(f"data set '{name}': {path} differs from its receipt; {_again(name)}")
    return receipt


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep other processes from preparing or recording under ``root``. May be nested, in one thread."""
    data = (root / "data").resolve()
    if data in _held:
        yield
        return
    try:
        data.mkdir(parents=True, exist_ok=True)
        file = open(data / ".lock", "w")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UserError(unwritable(data, error)) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another process that prepares data", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # some cluster file systems are mounted without locks
            print(f"{data} has no file locks: prepare one data set at a time", file=sys.stderr, flush=True)
        _held.add(data)
        try:
            yield
        finally:
            _held.discard(data)


def _again(name: str) -> str:
    return f"prepare it again: sslpairs fetch {name} --force"


def _write(folder: Path, name: str, dataset: Dataset, splits: dict, classes: list[str]) -> dict:
    """Write the arrays and, last, the receipt; returns the receipt."""
    arrays = {}
    for split, (images, labels) in splits.items():
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = images, labels
    mean, std = _statistics(name, splits["train"][0])
    files = {}
    for key, array in arrays.items():
        path = folder / f"{key}.npy"
        with open(path, "wb") as file:
            np.save(file, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        files[path.name] = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
    receipt = {
        "format": FORMAT,
        "name": name,
        "title": dataset.title,
        "content": content_hash(arrays, classes),
        "classes": classes,
        "mean": mean,
        "std": std,
        "image": list(splits["train"][0].shape[1:]),
        "counts": {split: len(labels) for split, (_, labels) in splits.items()},
        "files": files,
        "source": source_record(dataset.source),
    }
    return write_record(folder / "dataset.json", receipt)


def _statistics(name: str, images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of ``[N, C, H, W]``, in the scale 0..1.

    From histograms: sums of integers are exact, so all machines agree, and one block of images is in memory at a time.
    """
    block = max(1, (1 << 22) // images[0, 0].size)
    mean, std = [], []
    for channel in range(images.shape[1]):
        counts = np.zeros(256, np.int64)
        for start in range(0, len(images), block):
            counts += np.bincount(images[start : start + block, channel].ravel(), minlength=256)
        number = int(counts.sum())
        first = sum(value * count for value, count in enumerate(counts.tolist()))
        second = sum(value * value * count for value, count in enumerate(counts.tolist()))
        mean.append(first / (number * 255))
        std.append(((number * second - first * first) / (number * 255) ** 2) ** 0.5)
    if min(std) == 0:
        raise UserError(
            f"data set '{name}': channel {std.index(0)} has the same value in all pixels of all training images, "
            "so it cannot be normalised; check the images, and 'channels' in config/datasets.yaml"
        )
    return mean, std


def _swap(new: Path, place: Path, old: Path) -> None:
    """Move ``new`` to ``place``, and what was there to ``old``; when that fails, what was there comes back."""
    try:
        if os.path.lexists(place):
            os.rename(place, old)
        os.rename(new, place)
    except BaseException:
        if os.path.lexists(old) and not os.path.lexists(place):
            os.rename(old, place)
        raise


def _remove_leftovers(data: Path) -> None:
    """Remove what killed processes left behind. The lock is held, but not every file system keeps locks."""
    for folder in data.glob(".preparing-*"):
        pid = folder.name.rpartition("-")[2]
        if pid.isdecimal() and (int(pid) == os.getpid() or not _alive(int(pid))):
            name = folder.name[len(".preparing-") : -len(pid) - 1]
            if os.path.lexists(folder / "old") and not os.path.lexists(data / name):
                os.rename(folder / "old", data / name)  # killed between the two renames
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Within it SIGTERM (a scheduler's time limit) raises SystemExit, so that clean-up runs as after Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
