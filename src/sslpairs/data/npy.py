"""NumPy's arrays in files, read in pieces: .npy files of a folder, or inside an .npz, which is a zip of them."""

import contextlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from sslpairs.data.archives import telling_errors
from sslpairs.data.memory import free_memory, in_bytes
from sslpairs.data.names import shown
from sslpairs.data.pixels import rows_at_once
from sslpairs.errors import UserError

SUFFIX = ".npy"


@dataclass(frozen=True)
class Stored:
    """An array in a file. Only its header has been read."""

    where: str
    """How errors name the folder or .npz that it is in."""
    path: Path
    file: str
    """Name of its file, inside of ``path``."""
    shape: tuple[int, ...]
    dtype: np.dtype
    columns: bool
    """It is stored column by column (Fortran's order)."""
    begin: int
    """Bytes before its values."""

    @property
    def what(self) -> str:
        """How errors describe it."""
        return f"{self.where}: {shown(self.file)}"

    def load(self) -> np.ndarray:
        """The whole array, for labels."""
        size = prod(self.shape) * self.dtype.itemsize
        if size > (free := free_memory()):
            raise UserError(f"{self.what} takes {in_bytes(size)} of memory, but only {in_bytes(free)} are free")
        with self._values() as stream:
            flat = np.frombuffer(self._read(stream, size), self.dtype)
        return flat.reshape(self.shape, order="F" if self.columns else "C")

    def rows(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """The rows with these sorted indices, some megabytes at a time, in one pass over all of them: blocks ``[B, ...]``.

        UserError if the array is stored column by column, or if the file is damaged or cut off.
        """
        self.check_rows()
        nbytes = prod(self.shape[1:]) * self.dtype.itemsize
        size = rows_at_once(nbytes)
        with self._values() as stream:
            for begin in range(0, self.shape[0], size):
                count = min(size, self.shape[0] - begin)
                block = np.frombuffer(self._read(stream, count * nbytes), self.dtype).reshape(count, *self.shape[1:])
                low, high = np.searchsorted(wanted, (begin, begin + count))
                if high - low == count:
                    yield block
                elif high > low:
                    yield block[wanted[low:high] - begin]

    def check_rows(self) -> None:
        """UserError if the array is stored column by column: its rows cannot be read one after the other."""
        if self.columns:
            raise UserError(f"{self.what} is stored column by column; save numpy.ascontiguousarray(array) instead")

    @contextlib.contextmanager
    def _values(self) -> Iterator[IO[bytes]]:
        with telling_errors(self.what), _opened(self.path, self.file) as stream:
            self._read(stream, self.begin)
            yield stream  # a zip verifies its checksum with the last byte

    def _read(self, stream: IO[bytes], size: int) -> bytearray:
        data, at = bytearray(size), 0
        view = memoryview(data)
        while at < size and (count := stream.readinto(view[at : at + (16 << 20)])):
            at += count
        if at < size:
            raise UserError(f"{self.what} is cut off; get it again")
        return data


def stored_arrays(where: str, path: Path) -> dict[str, Stored]:
    """The arrays of a folder of .npy files, or of an .npz, by name. UserError for damaged files, and for arrays of Python objects,
    which are pickles and never loaded."""
    with telling_errors(where):
        if path.is_dir():
            sizes = {file.name: file.stat().st_size for file in sorted(path.glob(f"*{SUFFIX}")) if file.is_file()}
        elif not zipfile.is_zipfile(path):
            raise UserError(f"{where} is not an .npz file, or it is cut off; get it again")
        else:
            with zipfile.ZipFile(path) as archive:
                sizes = {info.filename: info.file_size for info in archive.infolist() if not info.is_dir()}
        return {
            name.removesuffix(SUFFIX): _stored(where, path, name, size)
            for name, size in sizes.items()
            if name.endswith(SUFFIX) and "/" not in name
        }


def _stored(where: str, path: Path, name: str, size: int) -> Stored:
    what = f"{where}: {shown(name)}"
    with _opened(path, name) as stream:
        try:
            version = np.lib.format.read_magic(stream)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, columns, dtype = read(stream)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{what} is not an array of NumPy ({' '.join(str(error).split())[:100]})") from error
        begin = stream.tell()
    if dtype.hasobject:
        raise UserError(
            f"{what} holds Python objects, which are pickles and never loaded; save numbers, or text as array.astype(str)"
        )
    if size != begin + prod(shape) * dtype.itemsize:
        raise UserError(f"{what} is cut off: {size:,} bytes do not hold {dtype} of shape {shape}; get it again")
    return Stored(where, path, name, shape, dtype, columns and len(shape) > 1, begin)


def _opened(path: Path, file: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    return open(path / file, "rb") if path.is_dir() else _in_zip(path, file)


@contextlib.contextmanager
def _in_zip(path: Path, file: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as archive, archive.open(file) as stream:
        yield stream
