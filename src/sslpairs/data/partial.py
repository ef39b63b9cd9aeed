"""What is here of a file that is being downloaded: ``<name>.part``, and ``<name>.part.json``, a note of what is missing in it.

The note speaks only of bytes that are on the disk: a process that is killed, or a power cut, costs what came since the last
note. Where locks do not keep other processes away, each has a part of its own.
"""

import contextlib
import glob
import json
import os
import platform
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sslpairs.config.remote import RemoteFile
from sslpairs.data.memory import in_bytes
from sslpairs.errors import UserError
from sslpairs.files import read_json, unwritable, write_atomic
from sslpairs.locks import is_alive, is_held

LIMIT = 10**12
"""Maximum bytes of a file of unknown size."""
PIECE = 1 << 20
"""Fewest bytes that are worth a connection of their own."""
SILENCE = 60.0
"""Seconds without a new note after which the process of another machine is taken to have ended: it writes one every second."""


class Stopped(Exception):
    """The part is closed: its connections must end."""


@dataclass(eq=False)
class Span:
    """Missing bytes, from ``at`` up to ``end``. A connection that has ``taken`` them moves ``at``."""

    at: int
    end: int
    taken: bool = False


class Part:
    """A part and its note, opened to be continued from ``url``. Its methods may be called by several threads.

    UserError if the disk is full or cannot be written.
    """

    def __init__(self, path: Path, file: RemoteFile, url: str, anew: bool = False):
        self.path, self.note, self.url, self.file = path, note_of(path), url, file
        self.size = file.bytes
        """None if it is not known yet."""
        self.spans = [Span(0, LIMIT if self.size is None else self.size)]
        self.etag: str | None = None
        self.modified: str | None = None
        self.joined = False
        """Whether bytes of several answers were joined, and the server gave no proof that they are of the same file."""
        self._lock = threading.Lock()
        self._handle: int | None = None
        self._closed = False
        self.stale = anew or not self._continued()
        """Whether what is here is of no use: the next answer that holds the whole file replaces it."""

    def __enter__(self) -> "Part":
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all connections, and leave a note that any process may continue. What became stale meanwhile is removed."""
        with self._lock:
            self._closed = True
        if self._handle is None:
            return
        if self.stale:
            discard(self.path)
        else:
            with contextlib.suppress(UserError):  # a full disk: the last note still holds
                self._save(writer=None)
        os.close(self._handle)

    @property
    def done(self) -> int:
        """Bytes that are here."""
        with self._lock:
            return (LIMIT if self.size is None else self.size) - self._missing()

    @property
    def proof(self) -> str | None:
        """A strong ETag, the same for the same bytes only."""
        return self.etag if self.etag and self.etag.startswith('"') else None

    def take(self) -> Span | None:
        """The longest span that no connection has taken, or the second half of the longest one; None if none is worth it."""
        with self._lock:
            free = [span for span in self.spans if not span.taken]
            span = max(free or self.spans, key=lambda span: span.end - span.at, default=None)
            if self._closed or span is None:
                return None
            if span.taken:
                if self.size is None or span.end - span.at < 2 * PIECE:
                    return None
                middle = (span.at + span.end) // 2
                half = Span(middle, span.end)
                span.end, span = middle, half
                self.spans.append(half)
            span.taken = True
            return span

    def release(self, span: Span) -> None:
        """Let another connection take what is left of a span."""
        with self._lock:
            span.taken = False

    def write(self, span: Span, block: bytes) -> int:
        """Write a block at the start of a span, and return by how many bytes the block exceeds the span: negative if the span
        lacks some. ``Stopped`` if the part is closed."""
        with self._changing():
            surplus = len(block) - (span.end - span.at)
            rest = memoryview(block)[: span.end - span.at]
            while rest:
                written = os.pwrite(self._handle, rest, span.at)
                span.at, rest = span.at + written, rest[written:]
            return surplus

    def finish(self, span: Span) -> None:
        """Nothing is missing in a span any more."""
        with self._lock:
            self.spans.remove(span)

    def is_same(self, etag: str | None, modified: str | None) -> bool:
        """Whether an answer's ETag and Last-Modified are those of the bytes that are here. The first ones are kept."""
        with self._lock:
            same = {self.etag, etag} - {None}, {self.modified, modified} - {None}
            self.etag, self.modified = self.etag or etag, self.modified or modified
            return all(len(values) < 2 for values in same)

    def restart(self, span: Span, size: int | None) -> None:
        """Replace a stale part by an empty one, of which ``span`` is all. ``size`` in bytes, None if unknown."""
        with self._changing():
            self.note.unlink(missing_ok=True)  # first: it must never speak of other bytes
            self.path.unlink(missing_ok=True)
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            self.size, self.spans, self.stale = size, [span], False
            span.at, span.end = 0, LIMIT if size is None else size

    def allocate(self, size: int) -> None:
        """Set the file's size, in bytes. UserError if the disk has no room for what is missing."""
        with self._changing():
            self.size = size
            for span in self.spans:
                span.end = min(span.end, size)
            os.truncate(self._handle, size)
            needed, free = self._missing(), shutil.disk_usage(self.path.parent).free
        if needed > free:
            raise UserError(
                f"{self.path}: {in_bytes(needed)} more are needed, but only {in_bytes(free)} are free there; make room, then run the "
                "same command again"
            )

    def save(self) -> None:
        """Bring the bytes to the disk, then write the note."""
        with self._changing():
            pass
        self._save(_writer())

    def _save(self, writer: str | None) -> None:
        with self._lock:
            note = {
                "file": self._record(),
                "url": self.url,
                "etag": self.etag,
                "modified": self.modified,
                "size": self.size,
                "missing": [[span.at, span.end] for span in self.spans if span.at < span.end],
                "joined": self.joined,
                "writer": writer,
            }
        with _writing(self.path):
            os.fsync(self._handle)
        write_atomic(self.note, json.dumps(note) + "\n")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock, _writing(self.path):
            if self._closed:
                raise Stopped
            yield

    def _continued(self) -> bool:
        """Take over what the note says, as far as the part bears it out; returns whether it is of use."""
        note = read_json(self.note) or {}
        try:
            size, spans = note["size"], [Span(at, end) for at, end in note["missing"]]
            here, same = self.path.stat().st_size, note["url"] == self.url
            if (
                note["file"] != self._record()
                or self.file.bytes not in (None, size)
                or (here < spans[0].at if size is None else here != size)
                or not (same or (self.file.bytes is not None and self.file.digest))  # else nothing tells them apart
                or not all(0 <= span.at < span.end <= (LIMIT if size is None else size) for span in spans)
            ):
                return False
            self._handle = os.open(self.path, os.O_RDWR)
        except (LookupError, TypeError, ValueError, FileNotFoundError):
            return False
        self.size, self.spans, self.joined = size, spans, bool(note.get("joined")) or not same
        if same:
            self.etag, self.modified = note.get("etag"), note.get("modified")
        return True

    def _record(self) -> list:
        return [self.file.bytes, *(self.file.digest or ())]

    def _missing(self) -> int:
        return sum(span.end - span.at for span in self.spans)


def note_of(part: Path) -> Path:
    """The note of a part."""
    return part.with_name(f"{part.name}.json")


def discard(part: Path) -> None:
    """Remove a part, its note, and what a process left that was killed while it wrote the note."""
    note = note_of(part)
    for path in (note, part, *part.parent.glob(f".{glob.escape(note.name)}.*.tmp")):
        path.unlink(missing_ok=True)


def claim(part: Path, lock: Path) -> Path:
    """The part that this process, which holds ``lock``, may write. It is ``part``; but where the file system has no locks, or only
    within a machine while another one writes ``part``, it is one of this process's own. It continues what an ended process left.
    """
    with open(lock, "a") as file:
        os.utime(file.fileno())
        now = os.fstat(file.fileno()).st_mtime  # by the file server's clock: those of machines may differ
        locked = bool(is_held(file))
    owned = locked and _is_free(part, now, locked)
    mine = part if owned else part.with_name(f"{part.name}.{_writer()}")
    others = sorted(part.parent.glob(f"{glob.escape(part.name)}.*-*[0-9]"))
    for left in others if owned else [part, *others]:
        if left != mine and left.exists() and _is_free(left, now):
            if mine.exists():
                discard(left)
                continue
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                os.rename(left, mine)
                os.rename(note_of(left), note_of(mine))
    return mine


def _is_free(part: Path, now: float, locked: bool = False) -> bool:
    """Whether no living process writes a part. ``locked``: no other one of this machine does."""
    note = read_json(note_of(part))
    writer = part.name.rpartition(".part.")[2] if note is None else str(note.get("writer"))
    machine, _, process = writer.rpartition("-")
    if not process.isdecimal():  # it was left in order, or there is none
        return True
    if machine == platform.node():
        return locked or int(process) == os.getpid() or not is_alive(int(process))
    try:
        return now - (part if note is None else note_of(part)).stat().st_mtime > SILENCE
    except FileNotFoundError:  # another process has just taken it
        return False


def _writer() -> str:
    return f"{platform.node()}-{os.getpid()}"


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(unwritable(path, error)) from error
