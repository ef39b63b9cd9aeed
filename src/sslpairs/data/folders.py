"""Folders of prepared data, ``data/<name>/``: how they are put in place, their receipt ``dataset.json``, and the lock on all.

No numpy here: planning reads receipts.
"""

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

from sslpairs.errors import Unreadable, UserError
from sslpairs.files import sha256_file, unsealed, unwritable
from sslpairs.locks import exclusive, is_alive

KEYS = frozenset(
    {"format", "name", "title", "content", "classes", "mean", "std", "image", "counts", "files", "source"},
)
_held: set[Path] = set()
T = TypeVar("T")


def place(name: str, root: Path, fill: Callable[[Path], T]) -> T:
    """Let ``fill`` write the files of ``root/data/<name>/`` into a folder; returns its result.

    Everything is written next to the final place and moved there by renaming: after an error, Ctrl-C, SIGTERM or a full
    disk, only the previously prepared data is there.
    UserError if the disk cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(
            f"data set '{name}': this name cannot be used for a folder; use letters, digits, '-', '_' and '.', "
            "and begin with a letter or digit (config/datasets.yaml)"
        )
    data = root / "data"
    work = data / f".preparing-{name}-{os.getpid()}"
    with locked(root), sigterm_raises():
        _remove_leftovers(data)
        try:
            (work / "new").mkdir(parents=True)
            result = fill(work / "new")
            _swap(work / "new", data / name, work / "old")
        except OSError as error:  # errors of the source are already UserErrors
            raise UserError(unwritable(data, error)) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return result


def read_receipt(name: str, root: Path, folder: Path | None = None) -> dict | None:
    """The receipt of a prepared data set, or None if there is none; UserError if it is damaged."""
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
        raise UserError(f"data set '{name}': {path} is damaged ({error}); {again(name)}") from error
    return receipt


def verify(name: str, root: Path, folder: Path | None = None) -> dict:
    """Compare every prepared file with its digest in the receipt, and return the receipt; UserError names the first that differs."""
    folder = folder or root / "data" / name
    receipt = read_receipt(name, root, folder)
    if receipt is None:
        raise UserError(f"data set '{name}' is not prepared; run: sslpairs fetch {name}")
    for file, expected in receipt["files"].items():
        path = folder / file
        if not path.is_file():
            raise UserError(f"data set '{name}': {path} is missing; {again(name)}")
        if sha256_file(path) != expected["sha256"]:
            raise UserError(f"data set '{name}': {path} differs from its receipt; {again(name)}")
    return receipt


def stored_as(receipt: dict) -> str:
    """'arrays', decoded, or 'files', encoded as in the source."""
    return receipt.get("storage", "arrays")


def again(name: str) -> str:
    """Remedy for damaged data."""
    return f"prepare it again: sslpairs fetch {name} --force"


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep other processes from preparing or recording under ``root``. May be nested in one thread."""
    data = (root / "data").resolve()
    if data in _held:
        yield
        return
    with exclusive(data / ".lock", "waiting for another process that is preparing data"):
        _held.add(data)
        try:
            yield
        finally:
            _held.discard(data)


def _swap(new: Path, target: Path, old: Path) -> None:
    """Move ``new`` to ``target``, and the old content to ``old``; if that fails, the old content is restored."""
    try:
        if os.path.lexists(target):
            os.rename(target, old)
        os.rename(new, target)
    except BaseException:
        if os.path.lexists(old) and not os.path.lexists(target):
            os.rename(old, target)
        raise


def _remove_leftovers(data: Path) -> None:
    """Remove what killed processes left behind. The lock is held, but not every file system supports locks."""
    for folder in data.glob(".preparing-*"):
        pid = folder.name.rpartition("-")[2]
        if pid.isdecimal() and (int(pid) == os.getpid() or not is_alive(int(pid))):
            name = folder.name[len(".preparing-") : -len(pid) - 1]
            if os.path.lexists(folder / "old") and not os.path.lexists(data / name):
                os.rename(folder / "old", data / name)  # killed between the two renames
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Let SIGTERM (a scheduler's time limit) raise SystemExit, so that clean-up runs as after Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
