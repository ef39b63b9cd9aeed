"""Files as the authors of a data set published them: found, compared with what is on record, read in memory."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from sslpairs.config.remote import RemoteFile
from sslpairs.data.archives import open_members, telling_errors
from sslpairs.data.memory import free_memory, in_bytes
from sslpairs.data.names import shown
from sslpairs.data.progress import say
from sslpairs.errors import UserError

LARGE = 1 << 30
"""Bytes from which comparing a digest is announced."""


def first(path: Path, patterns: Iterable[str]) -> Path | None:
    """The file or folder itself if its name matches a pattern, else the first match inside it, or inside one of its folders."""
    for pattern in patterns:
        if path.match(pattern):
            return path
    for pattern in patterns if path.is_dir() else ():
        for depth in ("", "*/"):
            if found := sorted(path.glob(depth + pattern)):
                return found[0]
    return None


def verify(where: str, path: Path, known: Sequence[RemoteFile]) -> RemoteFile:
    """The one of ``known`` files that this is, by its digest; UserError with all digests if it is none of them.

    Files without a digest on record are compared by their size only, and their sha256 is printed.
    """
    size = path.stat().st_size
    if size > LARGE:
        say(f"{where}: comparing its digest ({in_bytes(size)})")
    found = {algorithm: _digest(path, algorithm) for algorithm in {(file.digest or ("sha256",))[0] for file in known}}
    for file in known:
        if file.digest is None and file.bytes in (None, size):
            say(f"{where}: no digest of it is on record, so only its size was compared; sha256 {found['sha256']}")
            return file
        if file.digest and found[file.digest[0]] == file.digest[1]:
            return file
    expected = " or ".join(f"{file.digest[0]} {file.digest[1]}" for file in known if file.digest)
    actual = ", ".join(f"{algorithm} {digest}" for algorithm, digest in sorted(found.items()))
    raise UserError(
        not_original(f"{where} is not the authors' file: {actual}, expected {expected or f'{known[0].bytes:,} bytes'}")
    )


class Hashed:
    """A stream whose bytes are hashed as they are read, so that a large file is verified in the pass that reads it."""

    def __init__(self, file: IO[bytes], algorithm: str):
        self.file, self.hash = file, hashlib.new(algorithm, usedforsecurity=False)

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        block = self.file.read(size)
        self.hash.update(block)
        return block

    def compare(self, where: str, known: RemoteFile) -> None:
        """UserError with both digests if what was read to its end is not the ``known`` file."""
        algorithm, expected = known.digest
        if (actual := self.hash.hexdigest()) != expected:
            raise UserError(
                not_original(f"{where} is not the authors' file: {algorithm} {actual}, expected {expected}")
            )

    def __enter__(self) -> "Hashed":
        return self

    def __exit__(self, *_) -> None:
        self.file.close()


def not_original(reason: str) -> str:
    """Error message for files that may be used, but not as the authors' own."""
    return (
        f"{reason}\nget it again, or set 'original: false' under its source in config/datasets.yaml to use it as it is"
    )


def verified_by(file: RemoteFile) -> str:
    """How a file that ``verify`` accepted was verified, for ``Opened.form``."""
    return f"{file.name} ({file.digest[0]} verified)" if file.digest else f"{file.name} (no digest on record)"


def check_md5(where: str, name: str, data: bytes | np.ndarray, expected: str) -> None:
    """UserError with both digests if the content of a file inside an archive or folder is not the authors'."""
    actual = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if actual != expected:
        raise UserError(
            not_original(f"{where}: {shown(name)} is not the authors' file: md5 {actual}, expected {expected}")
        )


def read_exact(
    where: str, path: Path, sizes: Mapping[str, int | None], largest: int = 64_000_000
) -> dict[str, np.ndarray]:
    """The bytes (uint8) of the files with these names in a folder or archive, in any folder inside it.

    ``sizes`` are their exact sizes, compared before anything is read; None for any size up to ``largest``. UserError if a file is
    missing, has another size, or does not fit into memory.
    """
    found: dict[str, np.ndarray] = {}
    for name, size, file in open_members(where, path):
        base = name.rpartition("/")[2]
        if base not in sizes or base in found:
            continue
        expected = sizes[base]
        if size != expected and (expected is not None or size > largest):
            stated = f"{expected:,}" if expected is not None else f"at most {largest:,}"
            raise UserError(f"{where}: {shown(name)} has {size:,} bytes instead of {stated}; get it again")
        if size > (free := free_memory()):
            raise UserError(
                f"{where}: {shown(name)} takes {in_bytes(size)} of memory, but only {in_bytes(free)} are free"
            )
        found[base] = array = np.empty(size, np.uint8)
        view, at = memoryview(array), 0
        with telling_errors(where):
            while at < size and (count := file.readinto(view[at : at + (16 << 20)])):
                at += count
        if at < size:
            raise UserError(f"{where}: {shown(name)} is cut off; get it again")
        if len(found) == len(sizes) and path.is_dir():
            break  # an archive is read to its end, which verifies its checksums
    if missing := sorted(sizes.keys() - found.keys()):
        raise UserError(f"{where}: there is no {missing[0]} in it; get it again")
    return found


def by_pixels(labels: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Indices that order images by label and, within a label, by the sha256 of their pixels: an order that every copy has."""
    digests = np.array([hashlib.sha256(np.ascontiguousarray(image)).digest() for image in images], dtype="S32")
    raw = np.frombuffer(digests.tobytes(), np.uint8).reshape(len(images), 32)
    return np.lexsort((*(raw[:, byte] for byte in reversed(range(32))), labels))


def first_per_class(labels: np.ndarray, limit: int | None) -> np.ndarray:
    """Indices of the first ``limit`` images of each class, and of all images without a class, in order."""
    if limit is None:
        return np.arange(len(labels))
    order = np.argsort(labels, kind="stable")
    start = np.searchsorted(labels[order], labels[order], side="left")
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - start
    return np.flatnonzero((rank < limit) | (labels < 0))


def blocks(images: np.ndarray, rows: np.ndarray, size: int = 4096) -> Iterator[np.ndarray]:
    """Rows of an array, ``size`` at a time."""
    for start in range(0, len(rows), size):
        yield images[rows[start : start + size]]


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
