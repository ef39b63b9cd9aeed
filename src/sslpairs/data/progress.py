"""Progress of data preparation on stderr."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def say(line: str) -> None:
    """Print one line."""
    print(line, file=sys.stderr, flush=True)


def track(items: Iterable[T], total: int, name: str, doing: str) -> Iterator[T]:
    """Pass items through and show how many of ``total`` are done: a progress bar in a terminal, else a line every 10 s."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, f"{name}: images", total, console=Console(stderr=True), transient=True)
        return
    say(f"{name}: {doing} {total:,} images")
    said = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - said >= 10:
            say(f"{name}: {done:,} of {total:,} images")
            said = time.monotonic()
        yield item
