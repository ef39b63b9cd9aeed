"""Kill a piece of work at every single moment at which it touches a file."""

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator

CHANGES = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.utime", "os.chmod", "os.truncate"}
WRITING = os.O_WRONLY | os.O_RDWR


def killed_before(number: int, work: Callable[[], object]) -> bool:
    """Do the work in a child, which gets SIGKILL just before its ``number``-th change of a file; whether it came that far."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        changes = itertools.count(1)

        def watch(event: str, arguments: tuple) -> None:
            changing = event in CHANGES or (
                event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
            )
            if changing and next(changes) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), f"the work itself failed with {code}"
    return code == -signal.SIGKILL


def every_moment(work: Callable[[], object], prepare: Callable[[], object]) -> Iterator[int]:
    """After each ``yield`` the work was killed one change later than before; ends when nothing is left to kill.

    ``prepare`` makes the place where it works, before each time.
    """
    for number in itertools.count(1):
        prepare()
        if not killed_before(number, work):
            return
        yield number
