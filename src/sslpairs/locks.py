"""Locks between processes: the kernel releases a lock when its process ends, however it ends, so no lock is ever stale.

Some cluster file systems are mounted without locks, or keep them to one host: there ``exclusive`` holds nothing, and callers
that check whether a lock is held also check something else.
"""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sslpairs.errors import UserError


@contextlib.contextmanager
def exclusive(path: Path, waiting: str, patient: bool = True) -> Iterator[None]:
    """Hold the lock file ``path``. While another process holds it, print ``waiting`` to stderr and wait, or raise it as a
    ``UserError`` if not ``patient``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(path, waiting, patient)
    except OSError as error:
        from sslpairs.files import unwritable  # jobs take a lock before they import anything

        raise UserError(unwritable(path if path.parent.is_dir() else path.parent, error)) from error
    try:
        yield
    finally:
        path.unlink(
            missing_ok=True
        )  # still held: a waiting process sees that the file is a different one and reopens it
        file.close()


def _locked(path: Path, waiting: str, patient: bool) -> IO[str]:
    said, tries = False, 0
    while True:
        file = open(path, "a")  # noqa: SIM115 - closed by the caller
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tries += 1
            if tries < 5:  # it may only be a process that checks whether the lock is held
                file.close()
                time.sleep(0.02)
                continue
            if not patient:
                file.close()
                raise UserError(waiting) from None
            if not said:
                print(waiting, file=sys.stderr, flush=True)
                said = True
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            return file
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()


def keep(file: IO) -> None:
    """Lock an open file until it is closed; waits while another process holds the lock."""
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)


def is_held(file: IO) -> bool | None:
    """Whether a process holds the lock of an open file; None where there are no locks. The check takes a shared lock for a moment,
    so that two concurrent checks do not mislead each other."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def is_alive(process: int) -> bool:
    """Whether a process with this id exists on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
