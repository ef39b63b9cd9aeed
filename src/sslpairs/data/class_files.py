"""Image files whose path or name tells their class, in folders or an archive: counted in one pass, read in the next."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sslpairs.data.archives import Member, is_image, members
from sslpairs.data.names import same_spelling, shown
from sslpairs.data.sources import Entry
from sslpairs.errors import UserError

Limits = dict[str, int | None]
"""Split -> maximum number of images per class."""


class Placed(NamedTuple):
    """Where an image belongs."""

    split: str
    wnid: str
    """Its class."""
    name: str
    """Its name in every copy of the data set."""


class Root(NamedTuple):
    """A folder or archive to read."""

    prefix: str
    """Put before the names of its files, such as ``train/``."""
    path: Path
    depth: int | None = None
    """How many levels of a folder are searched."""
    read: Callable[..., Iterator[Member]] = members
    """What reads it, with the arguments of ``members``."""


class Total(NamedTuple):
    """What a split has."""

    images: int
    """All, also those above a limit."""
    bytes: int | None
    """None if not all images were read."""


Place = Callable[[str], Placed | None]
Finished = Callable[[str, Total], None]


class ClassFiles:
    """The images under some roots.

    ``place`` tells where a file belongs by its name, None for files of no interest; UserError for names that cannot be. Reading in one
    pass, without a survey, is possible where there are no limits: nothing is then known about the classes in advance.
    """

    def __init__(
        self,
        where: str,
        roots: Sequence[Root],
        place: Place,
        limits: Limits,
        survey: bool = True,
    ):
        self.where, self.roots, self.place, self.limits = where, roots, place, limits
        self.counts: dict[str, Counter] | None = {"train": Counter(), "test": Counter()} if survey else None
        """Split -> class -> images; None without a survey."""
        self._first: frozenset[Placed] = frozenset()
        if survey:
            self._first = first_names(self._survey(), limits)

    def kept(self, split: str, classes: Sequence[str]) -> int:
        """Images of these classes within the limit."""
        limit = self.limits[split]
        counts = (self.counts[split][wnid] for wnid in classes)
        return sum(counts if limit is None else (min(limit, count) for count in counts))

    def entries(self, classes: Sequence[str], finished: Finished = lambda *_: None) -> Iterator[Entry]:
        """The images of these classes; at the end ``finished`` is told what each split had."""
        labels = {wnid: label for label, wnid in enumerate(classes)}
        images, size = Counter(), Counter()
        for root in self.roots:

            def wanted(stored: str, root: Root = root) -> bool:
                placed = self.place(root.prefix + stored)
                if placed is None or placed.wnid not in labels:
                    return False
                return self.limits[placed.split] is None or placed in self._first

            for member in root.read(self.where, root.path, wanted, root.depth):
                if member.data is not None:
                    split, wnid, name = self.place(root.prefix + member.name)
                    images[split] += 1
                    size[split] += len(member.data)
                    yield Entry(split, labels[wnid], name, member.data)
        for split, read in images.items():
            there = read if self.counts is None else sum(self.counts[split][wnid] for wnid in classes)
            if self.counts is not None and read != (expected := self.kept(split, classes)):
                raise UserError(
                    f"{self.where}: {split}: it had {expected:,} images, and then {read:,} when they were read; run the command "
                    "again when nothing changes there"
                )
            finished(split, Total(there, size[split] if self.limits[split] is None else None))

    def _survey(self) -> Iterator[Placed]:
        """Count all images, and yield those of the splits that are limited."""
        for root in self.roots:
            for member in root.read(self.where, root.path, (), root.depth):
                name = root.prefix + member.name
                if member.kind not in ("file", "folder") and (is_image(name) or "." not in member.name):
                    raise UserError(
                        f"{self.where}: {shown(name)} is {member.kind}; put the file or folder itself there"
                    )
                if member.kind == "file" and (placed := self.place(name)):
                    self.counts[placed.split][placed.wnid] += 1
                    if self.limits[placed.split] is not None:
                        yield placed


def first_names(images: Iterable[Placed], limits: Limits) -> frozenset[Placed]:
    """The first images of each split and class by name, as many as its limit."""
    classes = defaultdict(list)
    for image in images:
        classes[image.split, image.wnid].append(image.name)
    return frozenset(
        Placed(split, wnid, name)
        for (split, wnid), names in classes.items()
        for name in heapq.nsmallest(limits[split], names, key=order)
    )


def order(name: str) -> tuple[str, str]:
    """Key by which the images of a class are sorted."""
    return same_spelling(name), name
