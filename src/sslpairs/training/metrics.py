"""``metrics.csv``: the metrics of a training, one line per epoch."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sslpairs.errors import UserError
from sslpairs.files import unwritable
from sslpairs.plan.progress import date_start, live_metrics

COLUMNS = ("epoch", "steps", "loss", "learning_rate", "online_top1")
"""No time measurements, so that equal trainings give equal bytes."""


def to_csv(rows: Sequence[dict[str, Any]], header: bool = True) -> str:
    """The file's text, or with ``header=False`` the lines of some rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if header:
        writer.writeheader()
    for row in rows:
        numbers = {key: "" if row[key] is None else f"{row[key]:.6g}" for key in COLUMNS}
        writer.writerow(numbers | {"epoch": row["epoch"], "steps": row["steps"]})
    return text.getvalue()


class LiveMetrics:
    """The metrics in a run's folder while it trains, for monitoring: they begin with the epochs from which an interrupted training
    resumes. The authoritative file is the whole one written at the end."""

    def __init__(self, folder: Path, rows: Sequence[dict[str, Any]], seconds: float):
        """``rows`` are of epochs that took ``seconds`` before this training. Raises ``UserError`` if the disk is full."""
        self.path = live_metrics(folder)
        self._write("w", to_csv(rows))
        date_start(folder, seconds)

    def add(self, row: dict[str, Any]) -> None:
        """Append one finished epoch."""
        self._write("a", to_csv([row], header=False))

    def _write(self, mode: str, text: str) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise UserError(unwritable(self.path, error)) from error
