"""Prepared data sets as tensors, resident on the device that trains: uint8, augmented there in batches."""

import errno
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sslpairs.data.prepare import read_receipt
from sslpairs.errors import Unreadable, UserError
from sslpairs.files import sha256_file, unwritable


@dataclass(frozen=True)
class Split:
    """Images, uint8 ``[N, C, H, W]``, and their labels, int64 ``[N]``."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class ImageData:
    """A data set on one device."""

    train: Split
    test: Split
    classes: list[str]
    """Name of each label."""
    mean: Tensor
    """Of each channel over the training images, in the scale 0..1: float32 ``[C]``."""
    std: Tensor
    """Likewise, the standard deviation."""
    content: str
    """The content hash that run ids are made of."""
    title: str


def load(name: str, root: Path, device: torch.device | str = "cpu", content: str | None = None) -> ImageData:
    """The prepared data set ``root/data/<name>`` on ``device``.

    Digests, shapes and types are compared with the receipt, and its content hash with ``content``, where given: that of a run.
    UserError where the data set is not prepared or differs, so that nothing is trained on damaged or other images.
    """
    receipt = read_receipt(name, root)
    if receipt is None:
        raise UserError(f"data set '{name}' is not prepared; run: sslpairs fetch {name}")
    if content not in (None, receipt["content"]):
        raise UserError(
            f"data/{name}: not the images of this run (content {receipt['content'][:12]}, not {content[:12]}); prepare those "
            f"again with `sslpairs fetch {name}`, or build anew: with other images its runs are others"
        )

    def split(which: str) -> Split:
        count = receipt["counts"][which]
        images = _array(name, root, receipt, f"{which}_images.npy", np.uint8, (count, *receipt["image"]))
        labels = _array(name, root, receipt, f"{which}_labels.npy", np.int64, (count,))
        return Split(torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device))

    return ImageData(
        train=split("train"),
        test=split("test"),
        classes=receipt["classes"],
        mean=torch.tensor(receipt["mean"], dtype=torch.float32, device=device),
        std=torch.tensor(receipt["std"], dtype=torch.float32, device=device),
        content=receipt["content"],
        title=receipt["title"],
    )


def _array(name: str, root: Path, receipt: dict, file: str, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    path = root / "data" / name / file
    try:
        size, expected = path.stat().st_size, receipt["files"][file]
        if size != expected["bytes"]:
            raise ValueError(f"it has {size:,} bytes instead of {expected['bytes']:,}")
        if sha256_file(path) != expected["sha256"]:
            raise ValueError("its sha256 is not the one in its receipt: it was altered")
        array = np.load(path, allow_pickle=False)
        if array.dtype != dtype or array.shape != shape:
            raise ValueError(f"it holds {array.dtype} {array.shape} instead of {np.dtype(dtype)} {shape}")
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.ENOTDIR):  # None: NumPy's own
            raise Unreadable(unwritable(path, error, "read")) from error
        raise UserError(
            f"data set '{name}': {path} is damaged ({error}); prepare it again: sslpairs fetch {name} --force"
        ) from error
    return array
