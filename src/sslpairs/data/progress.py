"""Progress of data preparation on stderr."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

T = TypeVar("T")


def say(line: str) -> None:
    """Print one line."""
    print(line, file=sys.stderr, flush=True)


def track(
    items: Iterable[T], total: int | None, name: str, doing: str, size: Callable[[T], int] | None = None
) -> Iterator[T]:
    """Pass items through and show how many images of ``total`` are done: a progress bar in a terminal, else a line every 10 s.

    An item is an image, or a block of ``size(item)`` images.
    """
    of = "" if total is None else f" of {total:,}"
    with contextlib.ExitStack() as stack:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn(f"{name}: {doing}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            bar = stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
            advance = partial(bar.advance, bar.add_task("", total=total))
        else:
            say(f"{name}: {doing} {'' if total is None else f'{total:,} '}images")
            advance = None
        said, done = time.monotonic(), 0
        for item in items:
            yield item
            count = size(item) if size else 1
            done += count
            if advance:
                advance(count)
            elif time.monotonic() - said >= 10:
                say(f"{name}: {done:,}{of} images")
                said = time.monotonic()
