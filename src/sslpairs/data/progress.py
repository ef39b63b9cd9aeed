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


class Count:
    """Shows how many images of ``total`` (None: unknown) are done: a progress bar in a terminal, else a line every 10 s."""

    def __init__(self, name: str, doing: str, total: int | None):
        self._bar, self._name, self._doing, self._total = None, name, doing, total

    def __enter__(self) -> "Count":
        total = "" if self._total is None else f"{self._total:,} "
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn(f"{self._name}: {self._doing}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=self._total)
            self._bar.start()
        else:
            say(f"{self._name}: {self._doing} {total}images")
        self._done, self._said = 0, time.monotonic()
        return self

    def add(self, count: int) -> None:
        """Count some more."""
        self._done += count
        if self._bar:
            self._bar.advance(self._task, count)
        elif time.monotonic() - self._said >= EVERY:
            say(f"{self._name}: {self._done:,}{'' if self._total is None else f' of {self._total:,}'} images")
            self._said = time.monotonic()

    def __exit__(self, *_) -> None:
        if self._bar:
            self._bar.stop()


def track(items: Iterable[T], total: int | None, name: str, doing: str) -> Iterator[T]:
    """Pass images through and count them."""
    with Count(name, doing, total) as count:
        for item in items:
            yield item
            count.add(1)


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
