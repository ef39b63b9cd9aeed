"""Progress of data preparation on stderr."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from sslpairs.data.memory import in_bytes
from sslpairs.words import duration

EVERY = 10.0
"""Seconds between two lines where stderr is not a terminal."""
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
        if time.monotonic() - said >= EVERY:
            say(f"{name}: {done:,} of {total:,} images")
            said = time.monotonic()
        yield item


@contextlib.contextmanager
def amount(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A function that shows how many bytes are done, of how many (None: unknown), the rate and the time that is left: in a
    progress bar in a terminal, else in a line every 10 s. It may be called often."""
    with _bar(name) if sys.stderr.isatty() else _lines(name) as show:
        yield show


@contextlib.contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:

        def show(done: int, total: int | None) -> None:
            if not bar.tasks:  # only now, so that what was done before does not count for the rate
                bar.add_task(name, total=total, completed=done)
            bar.update(bar.task_ids[0], total=total, completed=done)

        yield show


@contextlib.contextmanager
def _lines(name: str) -> Iterator[Callable[[int, int | None], None]]:
    said, before = time.monotonic(), None

    def show(done: int, total: int | None) -> None:
        nonlocal said, before
        before = done if before is None or done < before else before
        now = time.monotonic()
        passed = now - said
        if passed < EVERY:
            return
        rate = (done - before) / passed
        size = "" if total is None else f" of {in_bytes(total)}"
        left = f", {duration((total - done) / rate)} left" if total is not None and rate else ""
        say(f"{name}: {in_bytes(done)}{size}, {_rate(rate)}{left}")
        said, before = now, done

    yield show


def _rate(rate: float) -> str:
    return f"{in_bytes(rate)}/s" if rate >= 1e6 else f"{rate / 1e3:.0f} kB/s"
