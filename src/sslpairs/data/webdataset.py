"""Shards in the WebDataset format: tar archives in which files of one name, but of different suffixes, are a sample."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from sslpairs.data.archives import is_image, open_members, telling_errors
from sslpairs.data.decoding import MAX_BYTES
from sslpairs.data.memory import in_bytes
from sslpairs.data.names import shown
from sslpairs.data.shards import label as named
from sslpairs.data.sources import UNLABELLED
from sslpairs.errors import UserError

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_LABEL = 16 << 20
"""Maximum bytes of a label: .json files hold other facts too."""


class Sample(NamedTuple):
    """A sample of a shard; complete if it has an image and a label."""

    shard: Path
    key: str
    """Path in the shard up to the first dot of the file's name."""
    label: int | str | None
    """The whole number in .cls, else ``label`` in .json."""
    image: str | None
    """Suffix of the image's file."""
    data: bytes
    """Empty for samples that are not wanted."""

    @property
    def place(self) -> str:
        """How errors name it."""
        return f"{named(self.shard)}: {shown(self.key)}"


def samples(where: str, shards: Sequence[Path], wanted: Callable[[Path, str], bool] | None = None) -> Iterator[Sample]:
    """All samples in order, in one sequential pass, with the images of the ``wanted`` ones (by shard and key; by default of none).

    UserError for a sample without an image or label, with two images, in two parts of a shard or in two shards, and for a damaged
    shard.
    """
    before = None
    for shard in shards:
        for sample in _samples(where, shard, wanted):
            if before is not None:
                yield _complete(where, before, sample)
            before = sample
    if before is not None:
        yield _complete(where, before, None)


def has_labels(where: str, shard: Path) -> bool:
    """Whether the first sample of a shard has a label other than -1, without reading more than it."""
    first = next(_samples(where, shard, None), None)
    return first is not None and first.label not in (None, UNLABELLED)


def _complete(where: str, sample: Sample, after: Sample | None) -> Sample:
    whole = sample.image and sample.label is not None
    if after and after.key == sample.key and not (whole and after.image and after.label is not None):
        raise UserError(
            f"{where}: {sample.place} is split: other files of it are in {named(after.shard)}; write whole samples into each shard"
        )
    if not sample.image:
        raise UserError(f"{where}: {sample.place} has no image (.jpg, .png, ...); add it, or remove the sample")
    if sample.label is None:
        raise UserError(
            f"{where}: {sample.place} has no label: neither .cls nor 'label' in .json; add one, or remove the sample"
        )
    return sample


def _samples(where: str, shard: Path, wanted: Callable[[Path, str], bool] | None) -> Iterator[Sample]:
    sample: Sample | None = None
    done = set()
    for name, size, file in open_members(f"{where}: {named(shard)}", shard):
        folder, slash, base = name.rpartition("/")
        stem, _, suffix = base.partition(".")
        key, suffix = folder + slash + stem, suffix.lower()
        if not suffix or (base.startswith("__") and stem.endswith("__")):  # facts about the shard
            continue
        if sample is None or key != sample.key:
            if sample:
                yield sample
                done.add(sample.key)
            if key in done:
                raise UserError(
                    f"{where}: {named(shard)}: {shown(key)} is there twice, not side by side; sort the shard by name, or remove one of them"
                )
            sample = Sample(shard, key, None, None, b"")
        sample = _with(where, sample, suffix, size, file, wanted)
    if sample:
        yield sample


def _with(
    where: str, sample: Sample, suffix: str, size: int, file: IO[bytes], wanted: Callable[[Path, str], bool] | None
) -> Sample:
    """The sample with one more file."""
    if is_image(f"image.{suffix}"):
        if sample.image:
            raise UserError(
                f"{where}: {sample.place} has two images, .{sample.image} and .{suffix}; keep one of each sample"
            )
        _check_size(where, sample, suffix, size, MAX_BYTES)
        asked = wanted and wanted(sample.shard, sample.key)
        return sample._replace(image=suffix, data=_read(where, sample, file) if asked else b"")
    if suffix not in ("cls", "json"):
        return sample
    _check_size(where, sample, suffix, size, MAX_LABEL)
    text = _read(where, sample, file)
    if suffix == "cls":
        if not re.fullmatch(rb"\s*-?\d{1,9}\s*", text):
            found = shown(text.decode(errors="replace").strip())
            raise UserError(
                f"{where}: {sample.place}.cls holds '{found}', not a whole number; words belong into .json, as 'label'"
            )
        return sample._replace(label=int(text))
    if sample.label is not None:
        return sample  # .cls comes first
    try:
        label = json.loads(text)["label"]
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: {sample.place}.json is not JSON ({shown(str(error))}); correct it") from error
    except (KeyError, TypeError, IndexError):
        return sample
    if isinstance(label, bool) or not isinstance(label, int | str):
        raise UserError(
            f"{where}: {sample.place}.json: 'label' is {shown(json.dumps(label))}; use a whole number or a word"
        )
    return sample._replace(label=label)


def _check_size(where: str, sample: Sample, suffix: str, size: int, most: int) -> None:
    if size > most:
        raise UserError(
            f"{where}: {sample.place}.{suffix} has {in_bytes(size)}, more than {in_bytes(most)}; replace it or remove it"
        )


def _read(where: str, sample: Sample, file: IO[bytes]) -> bytes:
    with telling_errors(f"{where}: {named(sample.shard)}"):
        return file.read()
