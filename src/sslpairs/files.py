"""Atomic file writes, sealed records that detect changes, and checks of file dates."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sslpairs.errors import Unreadable, UserError

SEAL = "seal"
"""Key of a record for the sha256 over all its other keys."""
FORMATS = (1, 2)
"""Formats of records. Evaluations have format 2 since they name what they measured."""
FUTURE = 60.0
"""Seconds by which a file may be dated ahead of the clock: file servers and their clients differ slightly."""


def write_atomic(path: Path | str, content: bytes | str | memoryview, durable: bool = True) -> None:
    """Write ``content`` so that ``path`` never holds half of it: temporary file next to it, fsync, rename.

    Without ``durable`` there is no fsync: a killed process still leaves the old or the new file, a power cut may not.
    ``UserError`` if the disk is full or not writable.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(unwritable(path, error)) from error
        raise


def unwritable(path: Path | str, error: OSError, what: str = "written") -> str:
    """Error message for a file that cannot be written (or read): the cause and the remedy."""
    # NumPy reports a full disk without a number: "1048576 requested and 4096 written".
    full = error.errno in (None, errno.ENOSPC, errno.EDQUOT)
    remedy = (
        "make room there" if full else "check the permissions, and that the disk is whole and not mounted read-only"
    )
    return f"{path}: cannot be {what} ({error.strerror or error}); {remedy}, then run the same command again"


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None if it is missing or holds anything else."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict) else None


# --- records: receipts and evaluations ------------------------------------------------------------------------------


def write_record(path: Path | str, value: dict[str, Any]) -> dict[str, Any]:
    """Write a receipt or an evaluation with its seal, atomically; returns what was written. NaN and infinities are refused, since JSON
    has none."""
    record = {key: item for key, item in value.items() if key != SEAL}
    record[SEAL] = _seal(record)
    write_atomic(path, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return record


def read_record(path: Path | str, root: Path) -> dict[str, Any] | None:
    """A receipt or an evaluation, or None if there is none.

    ``UserError`` if it is truncated, altered, or not a record: it is never used then; ``Unreadable`` if it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return unsealed(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unreadable(unwritable(Path(path).relative_to(root), error, "read")) from None
    except ValueError as error:  # not JSON, or not UTF-8
        name = Path(path).relative_to(root)
        raise UserError(
            f"{name}: damaged ({error}); restore it with `git checkout {name}` if it was committed, else remove it: "
            "the next build recreates it"
        ) from None


def unsealed(content: bytes) -> dict[str, Any]:
    """The record in a file's bytes; ``ValueError`` says why it is not a record, or not the one that was written."""
    value = json.loads(content)
    if not isinstance(value, dict) or value.get("format") not in FORMATS:
        raise ValueError("it is not of format 1 or 2")
    if value.get(SEAL) != _seal({key: item for key, item in value.items() if key != SEAL}):
        raise ValueError("its seal does not match: it was altered")
    return value


def _seal(value: dict[str, Any]) -> str:
    return sha256_text(canonical(value))


def canonical(value: Any) -> str:
    """The canonical JSON text of a value: sorted keys, no spaces. Equal values have equal texts."""
    return _CANONICAL.encode(value)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_text(text: str) -> str:
    """Hex digest of the UTF-8 bytes of ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path | str) -> str:
    """Hex digest of a file's bytes, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def both_digests(path: Path | str) -> tuple[str, str]:
    """sha256 (receipts) and md5 (DVC's name of a file) of a file's bytes, in one pass."""
    sha, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
            md5.update(block)
    return sha.hexdigest(), md5.hexdigest()


# --- clocks ---------------------------------------------------------------------------------------------------------


def dated_ahead(paths: Iterable[Path | str], by: float = FUTURE) -> list[Path | str]:
    """Files that are dated more than ``by`` seconds in the future: the clock was wrong when they were written, or is now."""
    limit, ahead = time.time() + by, []
    for path in paths:
        with contextlib.suppress(OSError):
            if os.stat(path).st_mtime > limit:
                ahead.append(path)
    return ahead


def date_now(paths: Iterable[Path | str]) -> None:
    """Set files' dates to now. Snakemake fails a job whose output is older than its input, and removes the output."""
    for path in paths:
        with contextlib.suppress(OSError):
            os.utime(path)
