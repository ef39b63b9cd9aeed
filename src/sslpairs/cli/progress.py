"""Progress of long operations."""

import logging
import sys

log = logging.getLogger(__name__)


class Progress:
    """Progress bar in a terminal; elsewhere plain lines about every ten seconds and at the end. No output if there is no work."""

    def __init__(self, run: str, quiet: bool, unit: str = "epoch"):
        self.run, self.quiet, self.unit, self.bar, self.said = run, quiet, unit, None, 0.0

    def __enter__(self):
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[facts]}"),
                console=Console(stderr=True),
            )
            self.task = self.bar.add_task(self.run, total=None, facts="")
            if self.unit == "epoch":  # the first epoch may take long
                self.bar.start()
        return self

    def __call__(self, done: int, total: int, facts: str) -> None:
        """Report that ``done`` of ``total`` are done; ``facts`` is a line about the last one."""
        import time

        if self.bar:
            self.bar.start()
            self.bar.update(self.task, completed=done, total=total, facts=facts)
        elif done in (1, total) or time.monotonic() - self.said >= 10:
            self.said = time.monotonic()
            log.info("%s %d/%d: %s", self.unit, done, total, facts)

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()
