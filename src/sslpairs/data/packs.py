"""Packs: the encoded images of a split in one file, for data sets whose decoded arrays are too large to keep.

``<split>.pack`` holds the files' bytes one after the other, as the source stores them; ``<split>_index.npy``, int64
``[N, 4]`` in label order, holds each image's offset, its length, the CRC-32 of these bytes, and that of the decoded pixels.
The last one ensures that a training sees the images of its content hash, bit for bit, even with another version of Pillow.
"""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sslpairs.data.decoding import decode
from sslpairs.data.listed import Listed, encoded
from sslpairs.errors import Unreadable, UserError
from sslpairs.files import unwritable

BEGIN, LENGTH, BYTES_CRC, PIXELS_CRC = range(4)
UNKNOWN = -1
"""CRC-32 of the pixels until they are first decoded."""


def write_packs(name: str, listed: Listed, folder: Path) -> dict[str, np.ndarray]:
    """Copy all listed images into ``folder/<split>.pack``, in one sequential pass; returns the index of each split."""
    indices = {split: np.full((len(files), 4), UNKNOWN, np.int64) for split, files in listed.files.items()}
    packs = {split: open(folder / f"{split}.pack", "wb") for split in indices}  # noqa: SIM115 - closed below
    try:
        for split, index, member in encoded(name, listed, "packing"):
            pack = packs[split]
            indices[split][index, :PIXELS_CRC] = pack.tell(), len(member.data), zlib.crc32(member.data)
            pack.write(member.data)
        for pack in packs.values():
            pack.flush()
            os.fsync(pack.fileno())
    finally:
        for pack in packs.values():
            pack.close()
    return indices


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
    ):
        """``complaint`` makes an error message from an image's number and what is wrong with it; ``prepared_with`` is the
        ``decoder`` of the pixel checksums."""
        self.path, self.index, self.channels, self.size = path, index, channels, size
        self.complaint, self.prepared_with = complaint, prepared_with
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
            pixels = decode(data, self.size, self.channels)
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
