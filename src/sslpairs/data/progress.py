"""Progress of data preparation on stderr."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

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
        elif time.monotonic() - self._said >= 10:
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
