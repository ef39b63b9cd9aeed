"""Entries of a folder or archive in one pass, in storage order, with the bytes of the requested files."""

import bz2
import contextlib
import errno
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from sslpairs.data.decoding import MAX_BYTES
from sslpairs.data.memory import in_bytes
from sslpairs.data.names import shown
from sslpairs.errors import UserError

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".zip")
"""Suffixes of archives. The first bytes decide which type a file is: a browser may have unpacked a .tar.gz."""
OPENERS: dict[bytes, Callable[..., IO[bytes]]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
"""First bytes of a compressed tar archive."""
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm", ".tif", ".tiff"})
SPLIT_FOLDERS = ("train", "test", "val", "unlabeled")
Wanted = Collection[str] | Callable[[str], bool]
JUNK = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
DESCRIPTIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
"""Types of tar entries that only describe the next one."""
MAX_DESCRIPTION = 1 << 20
"""Maximum bytes of such an entry: tarfile reads it at once."""


class Member(NamedTuple):
    """One entry of a folder or archive."""

    name: str
    """Path within the folder or archive, parts separated by /, without a leading ./"""
    kind: str
    """'file', 'folder', or a description of anything else, such as a link in an archive: those are never followed."""
    data: bytes | None
    """A file's bytes if they were requested."""


def members(where: str, path: Path, wanted: Wanted = (), depth: int | None = None) -> Iterator[Member]:
    """All entries in storage order, with the bytes of the ``wanted`` ones, in one sequential pass.

    Folders are searched ``depth`` levels deep, by default as deep as ``wrapper/train/<class>/*``, so that a wrong path, such as ~, is
    not searched completely.
    ``UserError`` if the source is damaged or cannot be read, or if an image has more than ``MAX_BYTES``: in an archive
    before any is read.
    """
    asked = wanted if callable(wanted) else wanted.__contains__
    with telling_errors(where):
        for member in _reader(path, depth)(path, lambda name: not _is_junk(name.split("/")) and asked(name)):
            if name := _usable(where, member.name):
                yield member._replace(name=name)


def open_members(where: str, path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, size and opened content of each file of a folder (down to two levels) or archive, in storage order, in one sequential
    pass; the content can be read until the next one is requested. ``UserError`` as ``members``."""
    with telling_errors(where):
        for stored, size, file in _streams(path):
            if name := _usable(where, stored):
                yield name, size, file


def stored_as(path: Path) -> str:
    """How members are stored: 'folder', 'zip', 'tar' or 'compressed tar'. Only a tar is read without its other members."""
    if path.is_dir():
        return "folder"
    opener = _opener(path)
    return "zip" if opener is None else "tar" if opener is open else "compressed tar"


def open_tar(path: Path) -> IO[bytes]:
    """A tar archive as it is without compression, opened for reading."""
    return (_opener(path) or open)(path, "rb")


def tar_members(where: str, raw: IO[bytes]) -> Iterator[tuple[str, int, IO[bytes]]]:
    """As ``open_members``, for an opened tar archive without compression, also one inside another; closes ``raw``."""
    with telling_errors(where):
        for stored, info, archive in walk_tar(raw):
            if info.isreg() and (name := _usable(where, stored)):
                yield name, info.size, archive.extractfile(info)


def skimmed_members(where: str, path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """As ``open_members``, for a tar archive without compression: what is not read is skipped, so that a cut inside a skipped file, or
    between two files, is not noticed."""
    with telling_errors(where), tarfile.open(path, "r:", tarinfo=_Info) as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()
            if info.isreg() and (name := _usable(where, _plain(info.name))):
                yield name, info.size, archive.extractfile(info)


def _usable(where: str, stored: str) -> str | None:
    """The name of a file or folder, or None if it is of no interest."""
    parts = PurePosixPath(stored).parts
    if parts and (parts[0] == "/" or ".." in parts):
        raise UserError(f"{where}: the name '{shown(stored)}' points outside the archive; pack it again without it")
    return None if _is_junk(parts) else "/".join(parts) or None


def _is_junk(parts: Iterable[str]) -> bool:
    return any(part.startswith(".") or part in JUNK for part in parts)


@contextlib.contextmanager
def telling_errors(where: str) -> Iterator[None]:
    """Turn errors of reading a folder or archive into ``UserError``."""
    try:
        yield
    except _TooLarge as error:
        raise UserError(f"{where}: {error}; replace it or remove it") from error
    # RuntimeError and NotImplementedError: zipfile, for a password or an unknown compression.
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, RuntimeError) as error:
        raise UserError(f"{where} is damaged or cut off ({shown(str(error))}); get it again") from error
    except OSError as error:  # gzip and bz2 raise OSErrors without a number
        if error.errno is None:
            raise UserError(f"{where} is damaged or cut off ({error}); get it again") from error
        raise UserError(f"{where} cannot be read ({shown(str(error))}); check the disk and the permissions") from error
    except MemoryError as error:
        raise UserError(f"{where} cannot be read: this machine's memory is too small for one of its files") from error


class _TooLarge(Exception):
    """A file that is too large for an image."""


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise _TooLarge(f"{shown(name)} has {in_bytes(size)}; an image file may have at most {in_bytes(MAX_BYTES)}")


def is_image(name: str) -> bool:
    """Whether a file name has the suffix of an image."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _in_a_split(name: str) -> bool:
    return not set(name.split("/")[:2]).isdisjoint(SPLIT_FOLDERS)


def _reader(path: Path, depth: int | None) -> Callable[[Path, Callable[[str], bool]], Iterator[Member]]:
    if path.is_dir():
        return partial(_read_folder, depth)
    return partial(_read_tar, opener) if (opener := _opener(path)) else _read_zip


def _opener(path: Path) -> Callable[..., IO[bytes]] | None:
    """What opens an archive as an uncompressed tar; None for a .zip."""
    with open(path, "rb") as file:
        start = file.read(262)
    zipped = start.startswith((b"PK\3\4", b"PK\5\6"))
    if path.name.lower().endswith(".zip") and not start.startswith(tuple(OPENERS)) and start[257:] != b"ustar":
        zipped = True  # a self-extracting archive begins with a program
    return None if zipped else next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), open)


# --- folders ----------------------------------------------------------------------------------------------------------


def _read_folder(depth: int | None, path: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """Links are followed here: a subset made of links to class folders is common, and the user made them."""

    def walk(folder: Path, parts: tuple[str, ...]) -> Iterator[Member]:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            inner = (*parts, entry.name)
            name = "/".join(inner)
            kind = _kind(entry)
            yield Member(name, kind, _bytes(entry.path, name) if kind == "file" and wanted(name) else None)
            near = len(inner) == 1 or (len(inner) <= 3 and _in_a_split(name)) if depth is None else len(inner) < depth
            if kind == "folder" and near and not entry.name.startswith("."):
                yield from walk(Path(entry.path), inner)

    return walk(path, ())


def _kind(entry: os.DirEntry) -> str:
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return "a circular link"
    if entry.is_symlink() and not os.path.exists(entry.path):
        return f"a link to {shown(os.readlink(entry.path))}, which does not exist"
    return "a pipe, a socket or a device"


def _bytes(path: str, name: str) -> bytes:
    with open(path, "rb") as file:
        _check_size(name, os.fstat(file.fileno()).st_size)
        return file.read()


# --- archives ---------------------------------------------------------------------------------------------------------


def _read_zip(path: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        # Some Windows programs separate with backslashes, against the standard.
        windows = not any("/" in info.filename for info in infos)
        for info in infos:
            name = _zip_name(info, windows)
            link = stat.S_ISLNK(info.external_attr >> 16)
            kind = "folder" if name.endswith("/") else "a link or a special file" if link else "file"
            name = _plain(name)
            asked = kind == "file" and wanted(name)
            if asked or (kind == "file" and is_image(name)):
                _check_size(name, info.file_size)
            # It checks the CRC, and returns no more than the size.
            yield Member(name, kind, archive.read(info) if asked else None)


def _zip_name(info: zipfile.ZipInfo, windows: bool) -> str:
    name = info.filename
    if not info.flag_bits & 0x800:  # zipfile decoded it as MS-DOS characters; most are UTF-8 anyway
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return name.replace("\\", "/") if windows else name


def _read_tar(opener: Callable[..., IO[bytes]], path: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    for name, info, archive in walk_tar(opener(path, "rb")):
        kind = "folder" if info.isdir() else "file" if info.isreg() else "a link or a special file"
        asked = kind == "file" and wanted(name)
        if asked or (kind == "file" and is_image(name)):
            _check_size(name, info.size)
        yield Member(name, kind, archive.extractfile(info).read() if asked else None)


def walk_tar(raw: IO[bytes]) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
    """Names and entries of an uncompressed tar archive, with the archive to read the current one from; closes ``raw``.

    One forward pass: seeking in .tar.xz would decompress from the start each time.
    """
    with raw as file:
        tail = _Tail(file)
        with tarfile.open(fileobj=tail, mode="r|", tarinfo=_Info, bufsize=1 << 16) as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # or it would keep a record of every file, about 1 kB each
                yield _plain(info.name), info, archive
            # tarfile takes a cut between two files, or a damaged header, for the end. The true end is a block of
            # zeros with only zeros after it. Reading on also makes gzip, bz2 and xz verify their checksums.
            while tail.read(1 << 20):
                pass
            rest = tail.total - archive.offset
            if rest < tarfile.BLOCKSIZE or tail.zeros < rest:
                raise tarfile.ReadError("it does not end like a tar archive")


def _streams(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    if path.is_dir():
        for file in sorted(f for pattern in ("*", "*/*") for f in path.glob(pattern) if f.is_file()):
            with open(file, "rb") as content:
                yield file.relative_to(path).as_posix(), os.fstat(content.fileno()).st_size, content
    elif (opener := _opener(path)) is None:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    with archive.open(info) as content:
                        yield _plain(info.filename), info.file_size, content
    else:
        for name, info, archive in walk_tar(opener(path, "rb")):
            if info.isreg():
                yield name, info.size, archive.extractfile(info)


class _Info(tarfile.TarInfo):
    """An entry whose description cannot fill the memory."""

    @classmethod
    def frombuf(cls, *arguments) -> tarfile.TarInfo:
        info = super().frombuf(*arguments)
        if info.size > MAX_DESCRIPTION and info.type in DESCRIPTIONS:
            raise tarfile.ReadError(f"{in_bytes(info.size)} of text describe one of its files")
        return info


def _plain(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", ".")) if not name.startswith("/") else name


class _Tail:
    """A stream that counts its bytes, and the zeros at its end so far."""

    def __init__(self, file: IO[bytes]):
        self.file, self.total, self.zeros = file, 0, 0

    def read(self, size: int) -> bytes:
        block = self.file.read(size)
        body = len(block.rstrip(b"\0"))
        self.zeros = len(block) - body + (0 if body else self.zeros)
        self.total += len(block)
        return block
