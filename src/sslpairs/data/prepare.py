"""Prepared data sets, ``data/<name>/``: decoded arrays, or packs of the encoded files, and a receipt.

They are complete or absent. How a data set is stored changes neither its pixels nor its content hash.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from sslpairs.config.datasets import DatasetSettings
from sslpairs.config.sources.base import PublishedSource
from sslpairs.data.decoding import fit
from sslpairs.data.folders import place
from sslpairs.data.packs import PIXELS_CRC, Pack, Packed, decoder, pixel_crc, write_packs
from sslpairs.data.progress import Count, say
from sslpairs.data.sources import UNLABELLED, Opened, open_source, unusable
from sslpairs.errors import UserError
from sslpairs.files import canonical, sha256_file, write_record

FORMAT = 1
ARRAYS_LIMIT = 32 << 30
"""Maximum bytes of decoded images for which ``storage: auto`` keeps arrays. The same on all machines, so that all store alike."""
FEW = 1000
"""Up to so many images are decoded in this process: starting others takes longer."""


def prepare(name: str, dataset: DatasetSettings, root: Path, given: Path | None = None) -> dict:
    """Read the source and write ``root/data/<name>/``; returns the receipt, which is also ``dataset.json`` there.

    The source is at ``given``, else where it is found. The same source gives the same bytes. UserError for a source that cannot be
    used; see also ``place``.
    """

    def fill(folder: Path) -> dict:
        start = time.monotonic()
        opened = open_source(name, dataset, root, given)
        if opened.counts:
            _check_counts(name, dataset, opened.counts, opened.where)
        receipt = _write(folder, name, dataset, opened)
        counts, classes = receipt["counts"], len(receipt["classes"])
        say(
            f"{name}: read {counts['train']:,} training and {counts['test']:,} test images of {classes} classes, "
            f"{' x '.join(map(str, receipt['image']))}, in {time.monotonic() - start:.0f} s{opened.form and ' from '}{opened.form}"
        )
        return receipt

    return place(name, root, fill)


def check_expected(name: str, dataset: DatasetSettings, counts: dict[str, int], where: str) -> None:
    """``UserError`` if the splits do not have as many images as ``config/datasets.yaml`` or the data set's authors state; ``where``
    names the source."""
    if dataset.expected:
        stated, key = dict(dataset.expected), f"config/datasets.yaml: datasets.{name}.expected."
        remedy = "complete the source, or correct the number (or remove 'expected')"
    else:
        official = isinstance(dataset.source, PublishedSource) and dataset.source.counts()
        stated, key = dict(zip(("train", "test"), official or (), strict=False)), f"data set '{name}': "
        remedy = "get it again, or set 'original: false' under its source in config/datasets.yaml for a part of it"
    for split, expected in stated.items():
        if (count := counts.get(split, 0)) != expected:
            raise UserError(f"{key}{split}: {expected:,} images expected, but {where} has {count:,}; {remedy}")


def _check_counts(name: str, dataset: DatasetSettings, counts: dict[str, int], where: str) -> None:
    """``UserError`` if a split has no images, or as ``check_expected``."""
    for split in ("train", "test"):
        if not counts.get(split):
            what = "training" if split == "train" else "test"
            raise UserError(f"{where}: there are no {what} images in it; add some, or correct its source's settings")
    check_expected(name, dataset, counts, where)


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


def _write(folder: Path, name: str, dataset: DatasetSettings, opened: Opened) -> dict:
    """Write the images and, last, the receipt, which it returns. Holds only a few images, beyond what the source itself holds.

    Encoded files are first copied in the order of the source, then decoded in the order of the content hash, by the same code that
    reads them in a training.
    """
    shape = (channels, size, size) = (dataset.source.image()[0], *[dataset.source.image()[1]] * 2)
    packed: dict[str, Packed] = {}
    classes = opened.classes
    if opened.entries:
        packed = write_packs(name, opened.entries(), opened.counted and sum(opened.counted.values()), folder)
        labels = {split: one.labels for split, one in packed.items()}
        if opened.settle:
            classes, labels = opened.settle(labels)
        blocks = partial(_decoded, folder, opened.where, packed, shape, dataset.source.upright)
    else:
        labels, blocks = opened.labels, opened.images
    counts = {split: len(found) for split, found in labels.items()}
    _check_counts(name, dataset, counts, opened.where)
    if other := [split for split, count in (opened.counts or {}).items() if counts[split] != count]:
        raise UserError(
            f"{opened.where}: {other[0]}: {opened.counts[other[0]]:,} images were found, but then {counts[other[0]]:,} were read: a name "
            "is in it more than once, or it changed; correct that and run the command again"
        )
    keep = bool(packed) and _keeps_files(opened.storage, sum(counts.values()) * channels * size**2)
    arrays = {}
    for split in sorted(labels):
        arrays |= {f"{split}_images": ("|u1", (counts[split], *shape)), f"{split}_labels": ("<i8", (counts[split],))}
    digest, seen, files = _content_start(arrays, classes), _Histogram(channels), []
    with Count(name, "preparing", sum(counts.values())) as progress:
        for split in sorted(labels):
            key, at = f"{split}_images", 0
            with contextlib.nullcontext() if keep else _array_file(folder / f"{key}.npy", *arrays[key]) as target:
                for block in blocks(split):
                    images = np.ascontiguousarray(fit(block, size, channels))
                    digest.update(images.data)
                    if split == "train":
                        seen.add(images)
                    if target:
                        target.write(images.data)
                    else:
                        packed[split].index[at : at + len(images), PIXELS_CRC] = [pixel_crc(image) for image in images]
                    at += len(images)
                    progress.add(len(images))
            if at != counts[split]:
                raise UserError(f"{opened.where}: {split}: {at:,} images instead of {counts[split]:,}; get it again")
            digest.update(labels[split].astype("<i8").data)
    facts = {
        "content": digest.hexdigest(),
        "classes": classes,
        "image": list(shape),
        "counts": counts,
        **({"storage": "files", "decoder": decoder()} if keep else {}),
        **({"upright": False} if keep and not dataset.source.upright else {}),
        **({"form": opened.form} if opened.form else {}),
        **({"unlabelled": without} if (without := int((labels["train"] == UNLABELLED).sum())) else {}),
    }
    moments = seen.moments(name)
    for split in ("train", "test"):
        if keep:
            _save(folder / f"{split}_index.npy", packed[split].index)
            files += [f"{split}.pack", f"{split}_index.npy"]
        else:
            (folder / f"{split}.pack").unlink(missing_ok=True)
            files += [f"{split}_images.npy"]
        _save(folder / f"{split}_labels.npy", labels[split])
        files += [f"{split}_labels.npy"]
    return _finish(folder, name, dataset, facts, moments, files)


def _keeps_files(storage: str, decoded: int) -> bool:
    return storage == "files" or (storage == "auto" and decoded > ARRAYS_LIMIT)


def _decoded(
    folder: Path, where: str, packed: dict[str, Packed], shape: tuple[int, int, int], upright: bool, split: str
) -> Iterator[np.ndarray]:
    import torch

    from sslpairs.data.images import Streamed, decode_workers

    def complaint(number: int, reason: str) -> str:
        return unusable(where, packed[split].names[number], reason)

    pack = Pack(folder / f"{split}.pack", packed[split].index, *shape[:2], complaint, upright=upright)
    images = Streamed(pack, torch.device("cpu"), decode_workers(shape) if len(pack) > FEW else 0)
    return (block.numpy() for block in images.blocks(images.rows))


@contextlib.contextmanager
def _array_file(path: Path, kind: str, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """A .npy file, as ``numpy.save`` writes it, whose content is written piece by piece."""
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
        yield file
        file.flush()
        os.fsync(file.fileno())


def _save(path: Path, array: np.ndarray) -> None:
    with _array_file(path, array.dtype.str, array.shape) as file:
        file.write(np.ascontiguousarray(array).data)


def _finish(folder: Path, name: str, dataset: DatasetSettings, facts: dict, moments: tuple, files: list[str]) -> dict:
    """Write the receipt of the files in ``folder``."""
    mean, std = moments
    receipt = {
        "format": FORMAT,
        "name": name,
        "title": dataset.heading,
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
        """Add images ``[B, C, H, W]``; a few at once, since counting takes eight times their memory."""
        few = max(1, (1 << 16) // images[0, 0].size)
        for start in range(0, len(images), few):
            for channel, counts in enumerate(self.counts):
                counts += np.bincount(images[start : start + few, channel].ravel(), minlength=256)

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
