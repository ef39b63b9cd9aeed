"""Answers to single test images: in how many of ``of`` answers each was classified correctly, as text of a few kilobytes."""

import base64
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from sslpairs.errors import UserError

if TYPE_CHECKING:
    import numpy as np


class Coded(TypedDict):
    """How answers are written in receipts and evaluations."""

    of: int
    """Answers to each image: 1, or the draws of a protocol that averages over some."""
    images: int
    packed: str
    """Base64 of what zlib makes of one bit an image (the first in the highest bit), or, of more answers than one, of whole numbers of one
    byte, or of as many as ``of`` takes, the lowest first."""


def encode(right: "np.ndarray", of: int = 1) -> Coded:
    """Code the number of right answers to each image, ``[images]``, whole numbers (or booleans) from 0 to ``of``."""
    import numpy as np

    if right.min(initial=0) < 0 or right.max(initial=0) > of:
        raise ValueError(f"right answers range from {right.min()} to {right.max()}, but there are {of}")
    whole = np.packbits(right.astype(bool)) if of == 1 else right.astype(_counts(of))
    return {"of": of, "images": len(right), "packed": base64.b64encode(zlib.compress(whole.tobytes(), 9)).decode()}


def decode(coded: Coded) -> "np.ndarray":
    """The number of right answers to each image: unsigned, ``[images]``. Raise ``ValueError`` if the text is none of ``encode``'s."""
    import numpy as np

    try:
        of, images, packed = coded["of"], coded["images"], coded["packed"]
        if type(of) is not int or type(images) is not int or not (0 < of < 1 << 32 and 0 < images < 1 << 32):
            raise ValueError("of and images must be numbers above 0")
        dtype = np.dtype(np.uint8) if of == 1 else _counts(of)
        size = -(-images // 8) if of == 1 else images * dtype.itemsize
        # No more than the images take is unpacked, whatever the text says.
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(base64.b64decode(packed, validate=True), size + 1)
    except (KeyError, TypeError, zlib.error) as error:
        raise ValueError(repr(error)) from None
    if len(content) != size or not unpacking.eof:
        raise ValueError(f"not the answers to {images} images")
    found = np.frombuffer(content, dtype)
    found = np.unpackbits(found, count=images) if of == 1 else found
    if found.max() > of:
        raise ValueError(f"{found.max()} right answers of {of}")
    return found


def _counts(of: int) -> "np.dtype":
    import numpy as np

    return np.min_scalar_type(of).newbyteorder("<")


@dataclass(frozen=True)
class Answers:
    """Answers under one metric, decoded when they are asked for."""

    coded: dict[str, Any]
    data: str
    """Content hash of the images."""
    file: Path
    """Where they are written, relative to the root."""

    def shares(self) -> "np.ndarray":
        """The share of right answers to each image: float64 ``[images]``. Raise ``UserError`` if they are damaged."""
        try:
            return decode(self.coded) / self.coded["of"]
        except ValueError as error:
            raise UserError(
                f"{self.file}: damaged answers to single images ({error}); restore it with `git checkout {self.file}` if it was "
                "committed, else remove it: the next build recreates it"
            ) from None
