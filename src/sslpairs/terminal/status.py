"""``sslpairs status``: progress of each table, running trainings with remaining time, and failures with their messages."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sslpairs.plan import written
from sslpairs.plan.build import Build
from sslpairs.plan.machines import mixture
from sslpairs.plan.progress import Running, running
from sslpairs.terminal.screen import out
from sslpairs.words import duration
from sslpairs.workflow.announce import building

BAR = 20
"""Characters of a table's bar."""
OPTIONAL = ("training", "restorable", "missing", "failed")
"""Columns that are hidden when all their values are zero."""


@dataclass(frozen=True)
class Row:
    """Progress of a table. Guides of its runs count as its runs, as in ``sslpairs plan``."""

    table: str
    runs: int
    done: int
    training: int
    """Runs in training."""
    restorable: int
    """Finished runs whose checkpoint is published but not on this machine."""
    missing: int
    failed: int
    """Runs and evaluations."""
    evaluated: int
    evaluations: int
    written: str
    """yes, no, or old: the files do not match the current settings or numbers."""


@dataclass(frozen=True)
class Failure:
    """A training or an evaluation whose last attempt ended with an error."""

    name: str
    """Run id, or 'run id/key' of an evaluation."""
    log: str
    lines: list[str]


@dataclass(frozen=True)
class Status:
    """Progress of the selected tables."""

    scale: str
    rows: list[Row]
    states: dict[str, str]
    """Run -> done, restorable, training, failed or missing."""
    training: dict[str, Running]
    failures: list[Failure]
    damaged: list[str]
    building: list[str]
    machines: str | None

    @property
    def finished(self) -> bool:
        """Whether every table is written, from evaluations of the current plan."""
        return all(row.written == written.CURRENT and row.evaluated == row.evaluations for row in self.rows)

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        values = asdict(self)
        states, training = values.pop("states"), values.pop("training")
        values["runs"] = [{"run": run, "state": state, **training.get(run, {})} for run, state in states.items()]
        return {"format": 1, "finished": self.finished, **values}


def collect(build: Build, tables: list[str]) -> Status:
    """Collect every run and evaluation of the tables; running trainings and failures are those of the whole plan."""
    runs = {table: build.with_guides(build.runs_of(table)) for table in tables}
    evaluations = {table: set(build.evaluations_of(table)) for table in tables}
    wanted = dict.fromkeys(run for table in tables for run in runs[table])
    now = running(build, build.plan.runs)
    failures = _failures(build, now)
    failed = {failure.name for failure in failures}
    states = {run: _state(build, run, now, failed) for run in wanted}
    rows = []
    for table in tables:
        of_runs = [states[run] for run in runs[table]]
        rows.append(
            Row(
                table=table,
                runs=len(of_runs),
                done=sum(run in build.receipts for run in runs[table]),
                training=of_runs.count("training"),
                restorable=of_runs.count("restorable"),
                missing=of_runs.count("missing"),
                failed=of_runs.count("failed") + len(failed & evaluations[table]),
                evaluated=len(evaluations[table] & build.evaluated),
                evaluations=len(evaluations[table]),
                written=written.state(build, "tables", table),
            )
        )
    machines = mixture(build.receipts[run] for run in wanted if run in build.receipts)
    return Status(build.plan.scale["title"], rows, states, now, failures, build.damaged, building(build.root), machines)


def _state(build: Build, run: str, now: dict[str, Running], failed: set[str]) -> str:
    if run in now:
        return "training"
    if run in failed:
        return "failed"
    if run not in build.receipts:
        return "missing"
    return "restorable" if build.is_published(run) and not build.has_checkpoint(run) else "done"


def _failures(build: Build, now: dict[str, Running]) -> list[Failure]:
    logs = {run: f"logs/runs/{run}.log" for run in build.to_train if run not in build.receipts and run not in now}
    logs |= {name: f"logs/evals/{name}.log" for name in build.to_evaluate}
    return [Failure(name, log, lines) for name, log in logs.items() if (lines := failure(build, log))]


def failure(build: Build, log: str, most: int = 6) -> list[str]:
    """Return the last lines of a job's log if its last attempt failed; none while it is running or before it has started."""
    try:
        lines = (build.root / log).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return []
    errors = [number for number, line in enumerate(lines) if " ERROR " in line]
    # Lines without a level after an error belong to it; a later INFO or WARNING line means a later attempt.
    if not errors or any(f" {level} " in line for line in lines[errors[-1] + 1 :] for level in ("INFO", "WARNING")):
        return []
    return lines[-most:]


# --- for people -----------------------------------------------------------------------------------------------------


def grid(status: Status) -> Table:
    """Return the tables. Columns of zeros are hidden, and the bar if it does not fit; names are never truncated."""
    whole = _grid(status, bar=True)
    return whole if out.natural_width(whole) <= out.width else _grid(status, bar=False)


def _grid(status: Status, bar: bool) -> Table:
    shown = [name for name in OPTIONAL if any(getattr(row, name) for row in status.rows)]
    columns = ["table", "runs", "done", *shown, "evaluated", "written", *([""] if bar else [])]
    view = Table(title=f"Scale {status.scale}", title_justify="left")
    for column in columns:
        left = column in ("table", "")
        view.add_column(column, justify="left" if left else "right", overflow="fold", no_wrap=not left)
    for row in status.rows:
        filled = round(BAR * row.evaluated / row.evaluations) if row.evaluations else BAR
        cells = [row.table, str(row.runs), str(row.done), *(str(getattr(row, name)) for name in shown)]
        cells += [f"{row.evaluated}/{row.evaluations}", row.written]
        view.add_row(*cells, *(["█" * filled + "·" * (BAR - filled)] if bar else []))
    return view


def lines(status: Status) -> list[str]:
    """Return the lines printed below the tables."""
    report = []
    for run, progress in status.training.items():
        left = "" if progress.seconds_left is None else f", about {duration(progress.seconds_left)} left"
        report.append(f"training: {run}  epoch {progress.epoch}/{progress.epochs}{left}")
    for failure in status.failures:
        report += [f"failed: {failure.name} ({failure.log})", *(f"    {line}" for line in failure.lines)]
    report += [f"damaged: {line}" for line in status.damaged]
    report += [f"note: {status.machines}"] if status.machines else []
    return report + [f"building now: {words}" for words in status.building]


def show(status: Status) -> None:
    """Print the status to standard output."""
    out.print(grid(status))
    for line in lines(status):
        out.say(line)


def watch(look: Callable[[], Status], pause: float = 2.0) -> None:
    """Show the status repeatedly until every table is written, or Ctrl-C; in a pipe or a file, only when it changes."""
    from rich.live import Live

    shown = None
    screen = Live(console=out, auto_refresh=False) if out.is_terminal else contextlib.nullcontext()
    with contextlib.suppress(KeyboardInterrupt), screen as live:
        while True:
            status = look()
            facts = (status.rows, [progress.epoch for progress in status.training.values()], status.failures)
            if live:
                live.update(out.shown(Group(grid(status), Text("\n".join(lines(status))))), refresh=True)
            elif facts != shown:
                show(status)
            if status.finished:
                return
            shown = facts
            time.sleep(pause)
