"""Packs: the encoded images of a split in one file, for data sets whose decoded arrays are too large to keep.

``<split>.pack`` holds the files' bytes one after the other, as the source stores them; ``<split>_index.npy``, int64
``[N, 4]`` in label order, holds each image's offset, its length, the CRC-32 of these bytes, and that of the decoded pixels.
The last one ensures that a training sees the images of its content hash, bit for bit, even with another version of Pillow.
"""

import contextlib
import os
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslpairs.data.decoding import decode
from sslpairs.data.names import same_spelling
from sslpairs.data.progress import track
from sslpairs.data.sources import UNLABELLED, Entry
from sslpairs.errors import Unreadable, UserError
from sslpairs.files import unwritable

BEGIN, LENGTH, BYTES_CRC, PIXELS_CRC = range(4)
UNKNOWN = -1
"""CRC-32 of the pixels until they are first decoded."""


@dataclass(frozen=True)
class Packed:
    """A split that was packed, in the order of labels and names."""

    index: np.ndarray
    """int64 ``[N, 4]``."""
    labels: np.ndarray
    """int64 ``[N]``."""
    names: list[str]


def write_packs(name: str, entries: Iterable[Entry], count: int | None, folder: Path) -> dict[str, Packed]:
    """Copy all images into ``folder/<split>.pack``, in one sequential pass, and order them; ``count`` is their number, if known."""
    seen: dict[str, list[tuple]] = {split: [] for split in ("train", "test")}
    with contextlib.ExitStack() as stack:
        packs = {split: stack.enter_context(open(folder / f"{split}.pack", "wb")) for split in seen}
        for split, label, file, data in track(entries, count, name, "reading"):
            begin = packs[split].tell()
            packs[split].write(data)
            last = label == UNLABELLED
            seen[split].append((last, label, same_spelling(file), file, begin, len(data), zlib.crc32(data)))
        for pack in packs.values():
            pack.flush()
            os.fsync(pack.fileno())
    return {split: _ordered(found) for split, found in seen.items()}


def _ordered(found: list[tuple]) -> Packed:
    """Images have one order, and so one content hash, regardless of how accents in their names are encoded."""
    found.sort()
    index = np.full((len(found), 4), UNKNOWN, np.int64)
    if found:
        index[:, :PIXELS_CRC] = [row[4:] for row in found]
    return Packed(index, np.array([row[1] for row in found], np.int64), [row[3] for row in found])


class Pack:
    """One split's pack, opened for reading. Forked processes may share it."""

    def __init__(
        self,
        path: Path,
        index: np.ndarray,
        channels: int,
        size: int,
        complaint: Callable[[int, str], str],
        prepared_with: str = "",
        upright: bool = True,
    ):
        """``complaint`` makes an error message from an image's number and what is wrong with it; ``prepared_with`` is the
        ``decoder`` of the pixel checksums; ``upright`` turns images as their EXIF says."""
        self.path, self.index, self.channels, self.size = path, index, channels, size
        self.complaint, self.prepared_with, self.upright = complaint, prepared_with, upright
        self.shape = (len(index), channels, size, size)
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed with the object

    def __len__(self) -> int:
        return len(self.index)

    def image(self, number: int) -> np.ndarray:
        """One decoded image, uint8 ``[C, H, W]``; UserError if it is not the one that was packed."""
        begin, length, bytes_crc, pixels_crc = self.index[number].tolist()
        try:
            data = os.pread(self._file.fileno(), length, begin)
        except OSError as error:
            raise Unreadable(unwritable(self.path, error, "read")) from error
        if zlib.crc32(data) != bytes_crc:
            raise UserError(self.complaint(number, "its bytes were altered"))
        try:
            pixels = decode(data, self.size, self.channels, self.upright)
        except ValueError as error:
            raise UserError(self.complaint(number, str(error))) from error
        if pixels_crc != UNKNOWN and pixel_crc(pixels) != pixels_crc:
            reason = f"{decoder()} decodes it to different pixels than {self.prepared_with}, with which it was prepared"
            raise UserError(self.complaint(number, reason))
        return pixels


def pixel_crc(pixels: np.ndarray) -> int:
    """CRC-32 of an image's pixels."""
    return zlib.crc32(np.ascontiguousarray(pixels))


def decoder() -> str:
    """The libraries that decode images here, with their versions."""
    import PIL
    from PIL import features

    jpeg = features.version("libjpeg_turbo")
    return f"Pillow {PIL.__version__}" + (f" with libjpeg-turbo {jpeg}" if jpeg else "")
