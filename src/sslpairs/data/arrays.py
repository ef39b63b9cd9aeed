"""Prepared data sets as tensors: uint8, on the training device if they fit, augmented there in batches."""

import errno
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from sslpairs.data.folders import again, read_receipt, stored_as
from sslpairs.data.images import Hosted, Images, Part, Resident, Streamed, decode_workers
from sslpairs.data.memory import free_memory, free_on, in_bytes
from sslpairs.data.packs import Pack
from sslpairs.errors import Unreadable, UserError
from sslpairs.files import sha256_file, unwritable

T = TypeVar("T")
log = logging.getLogger(__name__)

RESIDENCES = ("auto", "device", "host", "stream")
"""Where images may be: on the training device, in the machine's memory, or encoded in their files."""
DEVICE_SHARE, HOST_SHARE = 0.5, 0.75
"""Share of the free memory of a GPU, and of the machine, that images may use: networks and activations need the rest."""


@dataclass(frozen=True)
class Split:
    """Images, uint8 ``[N, C, H, W]``, and their labels, int64 ``[N]``, which are always on the device."""

    images: Images
    labels: Tensor
    has_unlabelled: bool = False
    """Whether some labels are ``UNLABELLED``."""

    def labelled(self) -> "Split":
        """The images with a label, for evaluations."""
        if not self.has_unlabelled:
            return self
        rows = (self.labels >= 0).nonzero()[:, 0]
        return Split(Part(self.images, rows.cpu()), self.labels[rows])


@dataclass(frozen=True)
class ImageData:
    """A data set on one device."""

    train: Split
    test: Split
    classes: list[str]
    """Name of each label."""
    mean: Tensor
    """Of each channel over the training images, on the scale 0..1: float32 ``[C]``."""
    std: Tensor
    """Likewise, the standard deviation."""
    content: str
    """The content hash that is part of run ids."""
    title: str


def load(
    name: str,
    root: Path,
    device: torch.device | str = "cpu",
    content: str | None = None,
    residence: str | None = None,
    workers: int | None = None,
) -> ImageData:
    """Load the prepared data set ``root/data/<name>`` for ``device``.

    ``residence`` is one of ``RESIDENCES``, by default the environment variable ``SSLPAIRS_RESIDENCE`` or 'auto': on the
    device if the images fit, else in the machine's memory, else streamed. The choice is logged, with its bytes, before
    memory is allocated. ``workers`` processes decode streamed images (``decode_workers``).

    Digests, shapes and types are compared with the receipt, and its content hash with ``content`` (that of a run) if given.
    For packs only the size is compared here, and the checksums of each image whenever it is decoded.
    UserError if the data set is not prepared or differs, so that nothing is trained on damaged or different images, and
    if no memory can hold it.
    """
    device = torch.device(device)
    receipt = read_receipt(name, root)
    if receipt is None:
        raise UserError(f"data set '{name}' is not prepared; run: sslpairs fetch {name}")
    if content not in (None, receipt["content"]):
        raise UserError(
            f"data/{name}: not the images of this run (content {receipt['content'][:12]}, not {content[:12]}); prepare those "
            f"again with `sslpairs fetch {name}`, or rebuild: different images give different runs"
        )
    packed = stored_as(receipt) == "files"
    if workers is None:
        workers = decode_workers(receipt["image"]) if packed else 0
    residence = _residence(name, receipt, device, residence, workers)

    def split(which: str) -> Split:
        count = receipt["counts"][which]
        make = _packed if packed else _decoded
        images = make(name, root, receipt, which, device, residence, workers)
        labels = _array(name, root, receipt, f"{which}_labels.npy", np.int64, (count,))
        return Split(images, torch.from_numpy(labels).to(device), bool(labels.min() < 0))

    return ImageData(
        train=split("train"),
        test=split("test"),
        classes=receipt["classes"],
        mean=torch.tensor(receipt["mean"], dtype=torch.float32, device=device),
        std=torch.tensor(receipt["std"], dtype=torch.float32, device=device),
        content=receipt["content"],
        title=receipt["title"],
    )


def _residence(name: str, receipt: dict, device: torch.device, residence: str | None, workers: int) -> str:
    """Choose and log where the images are kept; UserError if they fit nowhere."""
    if residence is None:
        residence = os.environ.get("SSLPAIRS_RESIDENCE", "auto")
        if residence not in RESIDENCES:
            raise UserError(
                f"SSLPAIRS_RESIDENCE: '{residence}' is not one of {', '.join(RESIDENCES)}; set one of them, or unset it"
            )
    counts, packed = receipt["counts"], stored_as(receipt) == "files"
    needed = (counts["train"] + counts["test"]) * int(np.prod(receipt["image"]))
    share = DEVICE_SHARE if device.type == "cuda" else HOST_SHARE
    limits = {"device": (free_on(device), share), "host": (free_memory(), HOST_SHARE)}
    names = {"device": str(device), "host": "this machine's memory"}
    if residence == "auto":
        fitting = [kind for kind, (free, share) in limits.items() if needed <= share * free]
        residence = fitting[0] if fitting else "stream" if packed else None
    elif residence in limits and needed > limits[residence][0]:
        residence = None
    elif residence == "stream" and not packed:
        raise UserError(
            f"data set '{name}': it is stored as arrays, which cannot be streamed; set 'storage: files' under its source in "
            f"config/datasets.yaml, then: sslpairs fetch {name}"
        )
    facts = f"{counts['train']:,} + {counts['test']:,} images, {in_bytes(needed)}"
    if residence is None:
        room = "; ".join(
            f"{names[kind]}: {in_bytes(free)} free, of which {share:.0%} may be used"
            for kind, (free, share) in limits.items()
            if kind == "device" or device.type == "cuda"
        )
        remedy = (
            "unset SSLPAIRS_RESIDENCE to stream them"
            if packed
            else f"set 'storage: files' under its source in config/datasets.yaml, then: sslpairs fetch {name}"
        )
        raise UserError(f"data set '{name}': its {facts}, do not fit ({room})\n{remedy}")
    if residence == "stream":
        size = sum(file["bytes"] for path, file in receipt["files"].items() if path.endswith(".pack"))
        by = f"{workers} worker{'s' * (workers != 1)}" if workers else "the training process itself"
        where = f"streamed to {device} from {in_bytes(size)} of files, decoded by {by}"
    else:
        where = (
            f"resident on {device}" if residence == "device" else f"in this machine's memory, batches go to {device}"
        )
        where += f" ({in_bytes(limits[residence][0])} free)" + (", decoded once now" if packed else "")
    log.info("data set '%s': %s, %s", name, facts, where)
    return residence


def _decoded(
    name: str, root: Path, receipt: dict, which: str, device: torch.device, residence: str, workers: int
) -> Images:
    shape = (receipt["counts"][which], *receipt["image"])
    # Memory-mapped if it is copied to a GPU or only gathered from; 'c': PyTorch requires writable arrays.
    mapped = residence == "host" or device.type == "cuda"
    array = _array(name, root, receipt, f"{which}_images.npy", np.uint8, shape, mmap_mode="c" if mapped else None)
    tensor = torch.from_numpy(array)
    return Hosted(tensor, device) if residence == "host" else Resident(tensor.to(device))


def _packed(
    name: str, root: Path, receipt: dict, which: str, device: torch.device, residence: str, workers: int
) -> Images:
    count, (channels, size, _) = receipt["counts"][which], receipt["image"]
    path = root / "data" / name / f"{which}.pack"
    index = _array(name, root, receipt, f"{which}_index.npy", np.int64, (count, 4))
    _checked(name, path, lambda: _same_size(path, receipt))

    def complaint(number: int, reason: str) -> str:
        return f"data set '{name}': {path}: image {number:,} is damaged ({reason}); {again(name)}"

    streamed = Streamed(
        Pack(path, index, channels, size, complaint, receipt["decoder"], receipt.get("upright", True)), device, workers
    )
    if residence == "stream":
        return streamed
    tensor = torch.empty(streamed.shape, dtype=torch.uint8, device=device if residence == "device" else "cpu")
    start = 0
    for block in Streamed(streamed.pack, tensor.device, workers).blocks(streamed.rows):
        tensor[start : start + len(block)] = block
        start += len(block)
    return Resident(tensor) if residence == "device" else Hosted(tensor, device)


def _array(
    name: str, root: Path, receipt: dict, file: str, dtype: type, shape: tuple[int, ...], mmap_mode: str | None = None
) -> np.ndarray:
    path = root / "data" / name / file

    def read() -> np.ndarray:
        _same_size(path, receipt)
        if sha256_file(path) != receipt["files"][file]["sha256"]:
            raise ValueError("its sha256 differs from its receipt: it was altered")
        array = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
        if array.dtype != dtype or array.shape != shape:
            raise ValueError(f"it holds {array.dtype} {array.shape} instead of {np.dtype(dtype)} {shape}")
        return array

    return _checked(name, path, read)


def _same_size(path: Path, receipt: dict) -> None:
    size, expected = path.stat().st_size, receipt["files"][path.name]["bytes"]
    if size != expected:
        raise ValueError(f"it has {size:,} bytes instead of {expected:,}")


def _checked(name: str, path: Path, read: Callable[[], T]) -> T:
    """The result of ``read``; UserError if the file is damaged or cannot be read."""
    try:
        return read()
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.ENOTDIR):  # None: NumPy's own
            raise Unreadable(unwritable(path, error, "read")) from error
        raise UserError(f"data set '{name}': {path} is damaged ({error}); {again(name)}") from error
