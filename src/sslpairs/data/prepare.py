"""Prepared data sets, ``data/<name>/``: decoded arrays, or packs of the encoded files, and a receipt.

They are complete or absent. How a data set is stored changes neither its pixels nor its content hash.
"""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sslpairs.config.datasets import DatasetSettings
from sslpairs.data.folders import place
from sslpairs.data.listed import unusable
from sslpairs.data.packs import PIXELS_CRC, Pack, decoder, pixel_crc, write_packs
from sslpairs.data.progress import track
from sslpairs.data.sources import Opened, open_source, read, say_read
from sslpairs.errors import UserError
from sslpairs.files import canonical, sha256_file, write_record

FORMAT = 1
ARRAYS_LIMIT = 32 << 30
"""Maximum bytes of decoded images for which ``storage: auto`` keeps arrays. The same on all machines, so that all store alike."""


def prepare(name: str, dataset: DatasetSettings, root: Path) -> dict:
    """Read the source and write ``root/data/<name>/``; returns the receipt, which is also ``dataset.json`` there.

    The same source gives the same bytes. UserError for a source that cannot be used; see also ``place``.
    """

    def fill(folder: Path) -> dict:
        start = time.monotonic()
        opened = open_source(name, dataset, root)
        check_expected(name, dataset, opened.counts, opened.where)
        if _storage(dataset, opened) == "files":
            return _pack(folder, name, dataset, opened, start)
        return _write(folder, name, dataset, opened, read(name, opened))

    return place(name, root, fill)


def check_expected(name: str, dataset: DatasetSettings, counts: dict[str, int], where: str) -> None:
    """``UserError`` if the splits do not have as many images as ``config/datasets.yaml`` expects; ``where`` names the source."""
    for split, expected in dataset.expected or ():
        if counts[split] != expected:
            raise UserError(
                f"config/datasets.yaml: datasets.{name}.expected.{split}: {expected:,} images expected, but {where} has "
                f"{counts[split]:,}; complete the source, or correct the number (or remove 'expected')"
            )


def _storage(dataset: DatasetSettings, opened: Opened) -> str:
    if opened.storage != "auto":
        return opened.storage
    channels, size = dataset.source.image()
    return "files" if sum(opened.counts.values()) * channels * size**2 > ARRAYS_LIMIT else "arrays"


def content_hash(arrays: dict[str, np.ndarray], classes: list[str]) -> str:
    """Hex sha256 of what a training sees: arrays (sorted by name) with dtypes and shapes, and classes.

    It depends neither on the data set's name nor on how or where the arrays are stored.
    """
    ordered = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    ordered = {name: a.astype(a.dtype.newbyteorder("<"), copy=False) for name, a in ordered.items()}
    digest = _content_start({name: (a.dtype.str, a.shape) for name, a in ordered.items()}, classes)
    for array in ordered.values():
        digest.update(array.data)
    return digest.hexdigest()


def _content_start(arrays: dict[str, tuple[str, tuple[int, ...]]], classes: list[str]):
    """The content hash before any array; the bytes of each array follow, sorted by name."""
    header = {"classes": classes, "arrays": [[name, kind, list(shape)] for name, (kind, shape) in arrays.items()]}
    return hashlib.sha256(canonical(header).encode())


def _write(folder: Path, name: str, dataset: DatasetSettings, opened: Opened, read: dict[str, np.ndarray]) -> dict:
    """Write the arrays and, last, the receipt; returns the receipt."""
    arrays, classes = {}, opened.classes
    for split, labels in opened.labels.items():
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = read[split], labels
    images = read["train"]
    block = max(1, (1 << 22) // images[0, 0].size)
    seen = _Histogram(images.shape[1])
    for start in range(0, len(images), block):
        seen.add(images[start : start + block])
    facts = {
        "content": content_hash(arrays, classes),
        "classes": classes,
        "image": list(images.shape[1:]),
        "counts": opened.counts,
    }
    moments = seen.moments(name)
    for key, array in arrays.items():
        _save(folder / f"{key}.npy", array)
    return _finish(folder, name, dataset, facts, moments, [f"{key}.npy" for key in arrays])


def _pack(folder: Path, name: str, dataset: DatasetSettings, opened: Opened, start: float) -> dict:
    """Write packs of the encoded files and, last, the receipt, which it returns. Never holds more than a few images.

    The files are copied in the order of the source, then decoded in label order, which is that of the content hash, by the
    same code that reads them in a training.
    """
    import torch

    from sslpairs.data.images import Streamed, decode_workers

    listed, (channels, size) = opened.listed, dataset.source.image()
    shape = (channels, size, size)
    indices = write_packs(name, listed, folder)
    arrays, images = {}, {}
    for split in sorted(indices):
        files, labels = listed.files[split], listed.labels[split]

        def complaint(number: int, reason: str, files: list[str] = files) -> str:
            return unusable(listed.where, files[number], reason)

        pack = Pack(folder / f"{split}.pack", indices[split], channels, size, complaint)
        images[split] = Streamed(pack, torch.device("cpu"), decode_workers(shape))
        arrays |= {f"{split}_images": ("|u1", images[split].shape), f"{split}_labels": ("<i8", labels.shape)}
    digest, seen = _content_start(arrays, listed.classes), _Histogram(channels)

    def decoded() -> Iterator[tuple[str, int, np.ndarray]]:
        for split in images:
            index = 0
            for block in images[split].blocks(images[split].rows):
                for image in block.numpy():
                    yield split, index, image
                    index += 1
            digest.update(listed.labels[split].astype("<i8"))

    for split, index, image in track(decoded(), sum(map(len, images.values())), name, "decoding"):
        digest.update(image)
        indices[split][index, PIXELS_CRC] = pixel_crc(image)
        if split == "train":
            seen.add(image[None])
    facts = {
        "content": digest.hexdigest(),
        "classes": listed.classes,
        "image": list(shape),
        "counts": opened.counts,
        "storage": "files",
        "decoder": decoder(),
    }
    moments = seen.moments(name)
    files = []
    for split in ("train", "test"):
        _save(folder / f"{split}_index.npy", indices[split])
        _save(folder / f"{split}_labels.npy", listed.labels[split])
        files += [f"{split}.pack", f"{split}_index.npy", f"{split}_labels.npy"]
    say_read(name, facts["counts"], listed.classes, shape, start)
    return _finish(folder, name, dataset, facts, moments, files)


def _save(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def _finish(folder: Path, name: str, dataset: DatasetSettings, facts: dict, moments: tuple, files: list[str]) -> dict:
    """Write the receipt of the files in ``folder``."""
    mean, std = moments
    receipt = {
        "format": FORMAT,
        "name": name,
        "title": dataset.title,
        "content": facts["content"],
        "classes": facts["classes"],
        "mean": mean,
        "std": std,
        "image": facts["image"],
        "counts": facts["counts"],
        "files": {
            file: {"sha256": sha256_file(folder / file), "bytes": (folder / file).stat().st_size} for file in files
        },
        "source": dataset.source.record(),
    }
    return write_record(folder / "dataset.json", receipt | {key: facts[key] for key in facts if key not in receipt})


class _Histogram:
    """Counts of the 256 values in each channel: integer sums are exact, so all machines agree on the statistics."""

    def __init__(self, channels: int):
        self.counts = np.zeros((channels, 256), np.int64)

    def add(self, images: np.ndarray) -> None:
        """Add images ``[B, C, H, W]``; only a few at once, since counting takes eight times their memory."""
        for channel, counts in enumerate(self.counts):
            counts += np.bincount(images[:, channel].ravel(), minlength=256)

    def moments(self, name: str) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel, on the scale 0..1."""
        mean, std = [], []
        for counts in self.counts.tolist():
            number = sum(counts)
            first = sum(value * count for value, count in enumerate(counts))
            second = sum(value * value * count for value, count in enumerate(counts))
            mean.append(first / (number * 255))
            std.append(((number * second - first * first) / (number * 255) ** 2) ** 0.5)
        if min(std) == 0:
            raise UserError(
                f"data set '{name}': channel {std.index(0)} has the same value in all pixels of all training images, "
                "so it cannot be normalised; check the images, and 'channels' in config/datasets.yaml"
            )
        return mean, std
