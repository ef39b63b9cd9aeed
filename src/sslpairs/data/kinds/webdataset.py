"""Shards in the WebDataset format. The order of a class is that of the samples' keys; equal keys are in the order of the shards."""

import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from sslpairs.config.sources.webdataset import WebdatasetSettings
from sslpairs.data.labelled import TEST, UNUSED, chosen, counts, numbered
from sslpairs.data.names import same_spelling, shown
from sslpairs.data.progress import say
from sslpairs.data.shards import Splits, find
from sslpairs.data.sources import UNLABELLED, Entry, Opened
from sslpairs.data.splits import test_split
from sslpairs.data.webdataset import SUFFIXES, Sample, has_labels, samples
from sslpairs.errors import UserError, nearest


def open_source(name: str, source: WebdatasetSettings, path: Path) -> Opened:
    """One pass over the shards, when the images are read; limits per class and ``held_out`` need another one before it."""
    where = f"data set '{name}': {shown(str(path))}"
    shards = find(where, path, SUFFIXES)
    names = _class_names(where, source, shards["train"][0].parent)
    for split in [split for split in shards if split != "train" and not has_labels(where, shards[split][0])]:
        say(f"{where}: the {split} split has no labels, so it is not used")
        del shards[split]
    test = test_split(where, source, shards)
    shards = {split: shards[split] for split in ("train", test) if split}
    form = f"{sum(map(len, shards.values()))} shards"
    if source.held_out or source.train_per_class or source.test_per_class:
        return _listed(where, name, source, shards, names, form)
    return Opened(
        where,
        [],
        entries=partial(_entries, where, shards, names),
        storage=source.storage,
        settle=lambda labels: numbered(where, labels, names),
        form=form,
    )


def _listed(
    where: str, name: str, source: WebdatasetSettings, shards: Splits, names: list[str] | None, form: str
) -> Opened:
    """A first pass over the labels, to choose the images."""
    say(f"{name}: reading the shards twice: their labels first, to choose the images")
    found = {
        split: [(s.shard, s.key, _number(where, s, names)) for s in samples(where, files)]
        for split, files in shards.items()
    }
    labels = {split: np.array([label for *_, label in of_split], np.int64) for split, of_split in found.items()}
    classes, labels = numbered(where, labels, names)
    places = chosen(name, source, labels, {split: [key for _, key, _ in of_split] for split, of_split in found.items()})
    wanted = {
        (shard, key): ("test" if place == TEST else "train", label)
        for split, of_split in found.items()
        for (shard, key, _), place, label in zip(of_split, places[split].tolist(), labels[split].tolist(), strict=True)
        if place != UNUSED
    }
    entries = partial(_entries, where, shards, names, wanted)
    return Opened(where, classes, entries=entries, counted=counts(places), storage=source.storage, form=form)


def _entries(
    where: str,
    shards: Splits,
    names: list[str] | None,
    wanted: Mapping[tuple[Path, str], tuple[str, int]] | None = None,
) -> Iterator[Entry]:
    for split, files in shards.items():
        seen = set()
        for sample in samples(where, files, lambda shard, key: wanted is None or (shard, key) in wanted):
            if not sample.data:
                if wanted is None or (sample.shard, sample.key) in wanted:
                    raise UserError(f"{where}: {sample.place}.{sample.image} is empty; replace it or remove it")
                continue
            mark = zlib.crc32(sample.key.encode("utf-8", "surrogateescape")), zlib.crc32(sample.data), len(sample.data)
            if mark in seen:
                raise UserError(
                    f"{where}: {sample.place}: another shard of the {split} split has the same sample; remove one of the shards"
                )
            seen.add(mark)
            if wanted is None:
                label = _number(where, sample, names)
                if label == UNLABELLED and split != "train":
                    raise UserError(f"{where}: {sample.place} has no label, but is to be tested on; remove it")
                yield Entry("train" if split == "train" else "test", label, sample.key, sample.data)
            else:
                used, label = wanted[sample.shard, sample.key]
                yield Entry(used, label, sample.key, sample.data)


def _number(where: str, sample: Sample, names: list[str] | None) -> int:
    """The label as a number."""
    label = sample.label
    if isinstance(label, str):
        if names is None:
            raise UserError(
                f"{where}: {sample.place}.json has the word '{shown(label)}' as its label; list the words as 'classes' under its source in "
                "config/datasets.yaml"
            )
        if (label := same_spelling(label)) not in names:
            hint = nearest(label, names)
            raise UserError(
                f"{where}: {sample.place}.json: '{shown(label)}' is not one of 'classes'{hint}; correct one of them"
            )
        return names.index(label)
    if label < UNLABELLED or (names is not None and label >= len(names)):
        most = "" if names is None else f" to {len(names) - 1}"
        raise UserError(f"{where}: {sample.place} has the label {label}; labels count from 0{most}, and -1 is none")
    return label


def _class_names(where: str, source: WebdatasetSettings, folder: Path) -> list[str] | None:
    if not isinstance(source.classes, str):
        return source.classes and [same_spelling(name) for name in source.classes]
    try:
        lines = (folder / source.classes).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{where}: classes: {shown(str(folder / source.classes))} cannot be read ({reason}); correct 'classes'"
        ) from None
    names = [same_spelling(line.strip()) for line in lines]
    while names and not names[-1]:
        names.pop()
    if not names or not all(names):
        raise UserError(
            f"{where}: classes: {shown(source.classes)} is empty or has an empty line; write a name in each line"
        )
    return names
