"""MedMNIST: a set's .npz file, in its order."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sslpairs.config.medmnist import RESOLUTIONS, SETS
from sslpairs.config.sources.medmnist import MedMNISTSettings, file_name
from sslpairs.data.names import shown
from sslpairs.data.npy import Stored, stored_arrays
from sslpairs.data.official import first, first_per_class, verified_by, verify
from sslpairs.data.pixels import check_labels
from sslpairs.data.sources import Opened
from sslpairs.errors import UserError


def open_source(name: str, source: MedMNISTSettings, path: Path) -> Opened:
    """The file, or a folder that holds it, read row by row. UserError if it is not here, or another set's."""
    file = path if path.is_file() else first(path, (source.file.name,))
    others = {file_name(s, r): (s, r) for s in SETS for r in RESOLUTIONS if (s, r) != (source.set, source.resolution)}
    other = path if path.is_file() else first(path, [file_name(source.set, r) for r in RESOLUTIONS])
    if (file is None or path.is_file()) and other and other.name in others:
        flag, resolution = others[other.name]
        raise UserError(
            f"data set '{name}': {shown(str(other))} is not {source.file.name}; set 'set: {flag}' and 'resolution: {resolution}' under "
            f"its source in config/datasets.yaml to use it, or get the other: sslpairs fetch {name}"
        )
    if file is None:
        raise UserError(
            f"data set '{name}': {shown(str(path))}: there is no {source.file.name} in it; get it: sslpairs fetch {name}"
        )
    where = f"data set '{name}': {shown(str(file))}"
    form = verified_by(verify(where, file, [source.file])) if source.original else f"{file.name} (not verified)"
    found = stored_arrays(where, file)
    images, labels, rows = {}, {}, {}
    for split, limit in (("train", source.train_per_class), ("test", source.test_per_class)):
        images[split], labels[split] = _split(where, source, found, split)
        rows[split] = first_per_class(labels[split], limit)
        labels[split] = labels[split][rows[split]]

    def read(split: str) -> Iterator[np.ndarray]:
        for block in images[split].rows(rows[split]):
            yield block[:, None] if block.ndim == 3 else block.transpose(0, 3, 1, 2)

    return Opened(where, list(source.facts.classes), labels, read, form=form)


def _split(where: str, source: MedMNISTSettings, found: dict[str, Stored], split: str) -> tuple[Stored, np.ndarray]:
    for key in (f"{split}_images", f"{split}_labels"):
        if key not in found:
            raise UserError(f"{where}: there is no {key} in it, so it is not a file of MedMNIST; get it again")
    images, labels = found[f"{split}_images"], found[f"{split}_labels"]
    side = (source.resolution,) * 2
    expected = {1: side, 3: (*side, 3)}[source.facts.channels]
    count = (images.shape or (0,))[0]
    if images.shape[1:] != expected or images.dtype != np.uint8:
        raise UserError(
            f"{where}: {split}_images: {images.dtype} of shape {images.shape} instead of uint8 of shape "
            f"(N, {', '.join(map(str, expected))}); correct 'set' or 'resolution', or get it again"
        )
    if labels.shape not in ((count,), (count, 1)) or labels.dtype.kind not in "iu":
        raise UserError(
            f"{where}: {split}_labels: {labels.dtype} of shape {labels.shape} instead of one integer for each of "
            f"{count:,} images; get it again"
        )
    values = labels.load().reshape(-1).astype(np.int64)
    check_labels(where, split, values, source.classes)
    return images, values
