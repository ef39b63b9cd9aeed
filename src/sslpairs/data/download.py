"""Downloads that resume after anything, from several addresses, and that end with the file on record or with a clear error.

Requests are those of the library requests: it takes proxies (``HTTPS_PROXY`` ...) and certificates (``REQUESTS_CA_BUNDLE``)
from the environment.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from sslpairs.config.remote import RemoteFile
from sslpairs.data.folders import sigterm_raises
from sslpairs.data.memory import in_bytes
from sslpairs.data.partial import Part, claim, discard, note_of
from sslpairs.data.progress import amount, say
from sslpairs.data.transfer import Refused, Transfer, Unlike
from sslpairs.errors import UserError
from sslpairs.files import read_json, unwritable
from sslpairs.locks import exclusive

BEGINNINGS = 3
"""How often a file is begun anew at one address, because what was here could not be continued."""
LARGE = 1 << 28
"""Bytes of a file that takes a while to check."""


def download(file: RemoteFile, folder: Path) -> Path:
    """The path of a file in ``folder``, where it is downloaded first if it is not there.

    It gets this name only when its size and its digest are those on record. A file that has the name already is not read: only
    its size is compared. What came before an error, Ctrl-C, SIGTERM or a kill is kept next to it (``Part``), and continued by
    the next call. One process at a time downloads a file; the others wait.

    UserError if no address gives the file, if the disk is full or cannot be written, if ``SSLPAIRS_OFFLINE`` is set, and for
    a file of another size at this place; it says what to do by hand.
    """
    target = folder / file.name
    if _is_here(file, target):
        return target
    if not file.urls:
        raise UserError(f"{file.name} must be obtained by hand: {_by_hand(file, folder)}")
    if offline():
        raise UserError(
            f"{target} is missing, and SSLPAIRS_OFFLINE is set; unset it and run the same command again, or "
            f"{_by_hand(file, folder)}"
        )
    lock = folder / f"{file.name}.lock"
    with sigterm_raises(), exclusive(lock, f"{file.name}: waiting for another process that downloads it"):
        if not _is_here(file, target):
            try:
                _from_anywhere(file, claim(folder / f"{file.name}.part", lock), target)
            except OSError as error:
                raise UserError(unwritable(target, error)) from error
    return target


def offline() -> bool:
    """Whether nothing may be downloaded."""
    return os.environ.get("SSLPAIRS_OFFLINE", "0") not in ("", "0")


def addresses(files: Iterable[RemoteFile], folder: Path) -> str:
    """What to do to get files by hand: a line for each."""
    return "\n".join(_by_hand(file, folder) for file in files)


def _by_hand(file: RemoteFile, folder: Path) -> str:
    first, *others = file.urls or ("it from its authors",)
    more = f" (or {', '.join(others)})" if others else ""
    return f"download {first}{more} and put it at {folder / file.name}"


def _is_here(file: RemoteFile, target: Path) -> bool:
    try:
        size = target.stat().st_size
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(unwritable(target, error, "read")) from error
    if not target.is_file() or size != (size if file.bytes is None else file.bytes):
        what = f"has {size:,} bytes, but {file.bytes:,} are on record" if target.is_file() else "is not a file"
        raise UserError(f"{target} {what}: move it away or remove it, then run the same command again")
    return True


def _from_anywhere(file: RemoteFile, part: Path, target: Path) -> None:
    """Download a file to ``target`` from the first address that gives it, beginning with that of ``part``."""
    begun = (read_json(note_of(part)) or {}).get("url")
    urls = sorted(file.urls, key=lambda url: url != begun)
    failures = []
    try:
        for number, url in enumerate(urls, 1):
            try:
                _fetch(file, url, part)
            except Refused as error:
                failures.append(f"{urlsplit(url).hostname} {error}")
                if number < len(urls):
                    say(f"{file.name}: {failures[-1]}; trying {urlsplit(urls[number]).hostname}")
            else:
                os.replace(part, target)
                return discard(part)
    except (KeyboardInterrupt, SystemExit):
        say(f"{file.name}: stopped; {_kept(part) or 'nothing of it is here'}; the same command continues")
        raise
    kept = f" ({_kept(part)})" if _kept(part) else ""
    raise UserError(
        f"{file.name} was not downloaded: {'; '.join(failures)}\n"
        f"run the same command again later{kept}, or {_by_hand(file, target.parent)}"
    )


def _kept(part: Path) -> str:
    """What a message says about a part; '' if there is none."""
    note = (read_json(note_of(part)) if part.exists() else None) or {}
    try:
        size, missing = note["size"], note["missing"]
        done = missing[0][0] if size is None else size - sum(end - at for at, end in missing)
    except (LookupError, TypeError, ValueError):
        return ""
    return f"{in_bytes(done)}{'' if size is None else f' of {in_bytes(size)}'} are kept" if done else ""


def _fetch(file: RemoteFile, url: str, path: Path) -> None:
    """Complete the part at ``path`` from one address and check it. ``Refused`` if that does not give the file on record."""
    anew, connections = False, file.connections
    for _ in range(BEGINNINGS):
        with Part(path, file, url, anew) as part:
            try:
                if part.spans:
                    Transfer(part, connections).run()
                reason = None
            except Unlike as error:
                reason = str(error)
        if not reason:
            reason = _differs(file, path)
            if not reason:
                return
            discard(path)
            if not part.joined:
                raise Refused(reason)
        say(f"{file.name}: {urlsplit(url).hostname} {reason}; beginning anew")
        anew, connections = True, 1
    raise Refused(f"{reason}, {BEGINNINGS} times in a row")


def _differs(file: RemoteFile, path: Path) -> str | None:
    """How a complete file differs from what is on record; None if it does not. Without a digest on record, one is printed."""
    algorithm, expected = file.digest or ("sha256", None)
    digest, size = hashlib.new(algorithm, usedforsecurity=False), path.stat().st_size
    shown = amount(f"{file.name} ({algorithm})") if size >= LARGE else contextlib.nullcontext(lambda *_: None)
    with open(path, "rb") as content, shown as show:
        while block := content.read(1 << 20):
            digest.update(block)
            show(content.tell(), size)
    found = digest.hexdigest()
    if expected is None:
        say(f"{file.name}: no digest is on record for it; record its sha256, {found}, and its size, {size:,} bytes")
    elif not found.startswith(expected.lower()):
        return f"sent a file whose {algorithm} is {found} instead of {expected}, which is on record"
    else:
        say(f"{file.name}: {in_bytes(size)}, {algorithm} as on record")
    return None
