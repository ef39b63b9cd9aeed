"""The authors' archives of ImageNet, read in one pass and never unpacked."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from sslpairs.config.remote import RemoteFile
from sslpairs.data.archives import is_image, open_tar, skimmed_members, stored_as, tar_members, telling_errors
from sslpairs.data.class_files import Finished, Place, Placed, Total, first_names, order
from sslpairs.data.memory import in_bytes
from sslpairs.data.names import shown
from sslpairs.data.official import Hashed, not_original
from sslpairs.data.progress import say
from sslpairs.data.sources import Entry
from sslpairs.data.wnids import WNID
from sslpairs.errors import UserError

LARGEST = 64_000_000
"""Maximum bytes of one of its photographs."""


class Archive:
    """One of the two archives, as it was published or, with ``known`` None, any of its kind.

    The digest of what is under the compression is computed while it is read, and compared at the end. ``skim`` leaves out what is not
    read instead, where that is possible, and then only the size is compared.
    """

    def __init__(self, where: str, path: Path, known: RemoteFile | None, place: Place, limit: int | None, skim: bool):
        self.where, self.path, self.known, self.place, self.limit = where, path, known, place, limit
        with telling_errors(where):
            stored, size = stored_as(path), path.stat().st_size
        if stored == "zip":
            raise UserError(f"{where} is a .zip and not the authors' archive; give its path alone, or unpack it")
        self.compressed = stored != "tar"
        self.skim = skim and not self.compressed
        if known and not self.compressed and size != known.bytes:
            raise UserError(
                not_original(f"{where} is not the authors' file: {size:,} bytes, expected {known.bytes:,} bytes")
            )

    @property
    def form(self) -> str:
        """What was read, and how it was verified."""
        if self.known is None:
            return f"{self.path.name} (not verified)"
        checked = "only its size compared" if self.skim else f"{self.known.digest[0]} verified"
        return f"{self.path.name} ({checked})"

    def names(self) -> Iterator[str]:
        """Names of its files, without their content."""
        if self.compressed:
            say(f"{self.where}: reading the list of files")
            with telling_errors(self.where):
                raw = open_tar(self.path)
            return (name for name, _, _ in tar_members(self.where, raw))
        return (name for name, _, _ in skimmed_members(self.where, self.path))

    def files(self) -> Iterator[tuple[str, int, IO[bytes]]]:
        """Name, size and opened content of its files; the digest is compared after the last one."""
        if self.skim:
            yield from skimmed_members(self.where, self.path)
            return
        with telling_errors(self.where):
            raw = open_tar(self.path)
        if self.known is None:
            yield from tar_members(self.where, raw)
            return
        hashed = Hashed(raw, self.known.digest[0])
        yield from tar_members(self.where, hashed)
        hashed.compare(self.where, self.known)


class ValArchive(Archive):
    """The validation split: image files, whose numbers tell their classes."""

    def __init__(
        self, where: str, path: Path, known: RemoteFile | None, place: Place, limit: int | None, names: Iterable[str]
    ):
        """``names`` are those of the authors' files."""
        super().__init__(where, path, known, place, limit, skim=False)
        self._first: frozenset[Placed] | None = None
        if limit is not None:
            there = map(self._placed, names if known else self.names())
            self._first = first_names((placed for placed in there if placed), {"test": limit})

    def entries(self, classes: Sequence[str]) -> Iterator[Entry]:
        """The images of these classes."""
        labels = {wnid: label for label, wnid in enumerate(classes)}
        for name, size, file in self.files():
            placed = self._placed(name)
            if placed and placed.wnid in labels and (self._first is None or placed in self._first):
                yield Entry("test", labels[placed.wnid], placed.name, _bytes(self.where, name, size, file))

    def _placed(self, name: str) -> Placed | None:
        return self.place(f"val/{name}")


class TrainArchive(Archive):
    """The training split: an archive of image files for each class."""

    def __init__(self, where: str, path: Path, known: RemoteFile | None, place: Place, limit: int | None, whole: bool):
        super().__init__(where, path, known, place, limit, skim=not whole)
        listed = not self.compressed or known is None
        self.seen = {wnid for name in self.names() if (wnid := _class(name))} if listed else None
        """Its classes; None if they are not known before it is read."""

    def entries(self, classes: Sequence[str], finished: Finished) -> Iterator[Entry]:
        """The images of these classes."""
        labels = {wnid: label for label, wnid in enumerate(classes)}
        images = 0
        for name, _, file in self.files():
            if (wnid := _class(name)) in labels:
                inner = Inner(self.where, name, file, self.place, self.limit)
                for image, data in inner.images():
                    yield Entry("train", labels[wnid], image, data)
                images += inner.found
        finished("train", Total(images, None))


class TrainArchives:
    """The training split with its outer archive unpacked: a folder with an archive for each class."""

    def __init__(self, where: str, folder: Path, place: Place, limit: int | None):
        self.where, self.place, self.limit = where, place, limit
        self._paths = {wnid: path for path in folder.iterdir() if (wnid := _class(path.name))}
        self.seen = set(self._paths)

    def entries(self, classes: Sequence[str], finished: Finished) -> Iterator[Entry]:
        """The images of these classes."""
        images = size = 0
        for label, wnid in enumerate(classes):
            with telling_errors(self.where):
                raw = open_tar(self._paths[wnid])
            inner = Inner(self.where, self._paths[wnid].name, raw, self.place, self.limit)
            for image, data in inner.images():
                size += len(data)
                yield Entry("train", label, image, data)
            images += inner.found
        finished("train", Total(images, size if self.limit is None else None))


class Inner:
    """The archive of one class, opened for reading."""

    def __init__(self, where: str, name: str, raw: IO[bytes], place: Place, limit: int | None):
        self.where, self.wnid, self.raw = f"{where}: {shown(name)}", _class(name), raw
        self.place, self.limit = place, limit
        self.found = 0
        """Its images, after they were read."""

    def images(self) -> Iterator[tuple[str, bytes]]:
        """Names and bytes, in the archive's order; of a limited number the first ones by name, which are kept until the end."""
        kept: dict[str, bytes] = {}
        for name, size, file in tar_members(self.where, self.raw):
            base = name.rpartition("/")[2]
            if not is_image(base):
                continue
            placed = self.place(f"train/{self.wnid}/{base}")
            self.found += 1
            if self.limit is None:
                yield placed.name, _bytes(self.where, name, size, file)
            elif len(kept) < self.limit or order(placed.name) < order(max(kept, key=order)):
                kept[placed.name] = _bytes(self.where, name, size, file)
                if len(kept) > self.limit:
                    del kept[max(kept, key=order)]
        yield from kept.items()


def _class(name: str) -> str | None:
    """The class whose archive this is."""
    path = PurePosixPath(name)
    return path.stem if path.suffix == ".tar" and WNID.fullmatch(path.stem) else None


def _bytes(where: str, name: str, size: int, file: IO[bytes]) -> bytes:
    if size > LARGEST:
        raise UserError(
            f"{where}: {shown(name)} has {in_bytes(size)}, which is no photograph of ImageNet; get it again"
        )
    with telling_errors(where):
        return file.read()
