"""Locks between processes: the kernel drops one when its process ends, however that ends, so that none is ever stale.

Some cluster file systems are mounted without locks, or keep them to one host: there ``exclusive`` holds nothing, and who asks
whether a lock is held looks at something else, too.
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
    """Hold the lock file ``path``; while another process holds it, say ``waiting`` on stderr and wait, or, when not
    ``patient``, raise that as a ``UserError``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(path, waiting, patient)
    except OSError as error:
        from sslpairs.files import unwritable  # jobs ask for a lock before they import anything

        raise UserError(unwritable(path if path.parent.is_dir() else path.parent, error)) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # still held: who waits sees that the file is another one and opens it anew
        file.close()


def _locked(path: Path, waiting: str, patient: bool) -> IO[str]:
    said, tries = False, 0
    while True:
        file = open(path, "a")  # noqa: SIM115 - closed by the caller
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tries += 1
            if tries < 5:  # it may only be one who looks whether somebody holds it
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
    """Lock an open file for as long as it is open; waits while another process holds it."""
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)


def is_held(file: IO) -> bool | None:
    """Whether a process holds the lock of an open file; None where there are no locks. Looking shares the lock for a moment, so
    that two who look do not deceive each other."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def is_alive(process: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
