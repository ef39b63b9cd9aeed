"""Where a number comes from, and what a change would retrain: facts as plain values, printed by the command line."""

from dataclasses import dataclass, field
from typing import Any

from sslpairs.config.protocols import METRICS
from sslpairs.errors import UserError, nearest
from sslpairs.git import commit_words
from sslpairs.plan.build import Build
from sslpairs.plan.estimate import estimate
from sslpairs.plan.fingerprint import evaluation_code, training_code
from sslpairs.plan.records import Receipt


@dataclass(frozen=True)
class Subject:
    """The subject of a query: cells of tables, and their runs."""

    title: str
    runs: list[str]
    cells: list[tuple[str, str, str]] = field(default_factory=list)
    """Table, row and column of each cell; empty for a run."""


def find(build: Build, words: str) -> Subject:
    """Find what ``words`` names: a run (or the end of its id), a table, a figure, or a cell ``TABLE:ROW[:COLUMN]``, where a column is
    an id of the plan (``c0``) or a column heading. Raise ``UserError`` if nothing matches, or more than one run."""
    plan = build.plan
    table, *inner = words.split(":")
    if not inner and words in plan.figures:
        figure = plan.figures[words]
        subject = _cells(build, figure["table"], [])
        return Subject(
            f"Figure {words}: {figure['title']} (drawn from table {figure['table']})", subject.runs, subject.cells
        )
    if table in plan.tables:
        return _cells(build, table, inner)
    runs = [run for run in plan.runs if words == run or (len(words) >= 4 and run.endswith(words))]
    runs = runs or [run for run in plan.runs if run.startswith(words)]
    if len(runs) == 1:
        return Subject(f"Run {runs[0]}", runs)
    if runs:
        raise UserError(f"'{words}' matches {len(runs)} runs, such as {runs[0]} and {runs[1]}; write more of the id")
    known = [*plan.tables, *plan.figures, *plan.runs]
    raise UserError(
        f"'{words}' is not a table, figure or run of this plan, nor a cell (TABLE:ROW or TABLE:ROW:COLUMN){nearest(words, known)}"
    )


def _cells(build: Build, table: str, inner: list[str]) -> Subject:
    plan = build.plan.tables[table]
    rows = {name: row["id"] for row in plan["rows"] for name in (row["id"], row["label"])}
    columns = {name: column["id"] for column in plan["columns"] for name in (column["id"], column["label"])}
    wanted = {}
    for word, names, what in zip(inner, (rows, columns), ("row", "column"), strict=False):
        if word not in names:
            raise UserError(f"table {table} has no {what} '{word}'{nearest(word, list(names))} ({', '.join(names)})")
        wanted[what] = names[word]
    if len(inner) > 2:
        raise UserError(f"'{':'.join([table, *inner])}': a cell is TABLE:ROW:COLUMN")
    cells = [cell for cell in plan["cells"] if wanted.items() <= cell.items()]
    title = f"Table {table}: {plan['title']}" if not inner else f"Table {table}, {', '.join(inner)}"
    runs = dict.fromkeys(replicate["run"] for cell in cells for replicate in cell["replicates"])
    return Subject(title, list(runs), [(table, cell["row"], cell["column"]) for cell in cells])


# --- one run --------------------------------------------------------------------------------------------------------


def facts(build: Build, run: str) -> dict[str, str]:
    """Describe a run as text: state, data, code, machine, time, checkpoint, and where it is used."""
    plan, entry = build.plan, build.plan.runs[run]
    receipt = build.receipts.get(run)
    texts = {
        "method": f"{entry['label']}, {entry['backbone']}, {entry['augmentation']} augmentation",
        "data": data(build, run),
        "seed, batch, epochs": f"{entry['seed']}, {entry['spec']['batch_size']}, {entry['spec']['epochs']}",
        "state": state(build, run),
    }
    if words := guide(build, run):
        texts["guide"] = words
    if users := [other for other, planned in plan.runs.items() if planned["guide"] == run]:
        texts["guides"] = f"{len(users)} runs, such as {users[0]}" if len(users) > 1 else users[0]
    if receipt:
        timing = receipt["timing"]
        texts |= {
            "commit": commit_words(receipt["git"]),
            "code": code(receipt),
            "versions": ", ".join(
                f"{library} {version}" for library, version in receipt["versions"].items() if version
            ),
            "device": receipt["device"],
            "time": f"{timing['seconds']:.1f} s, {timing['images_per_second']:.0f} images/s; finished {receipt['finished']}",
            "checkpoint": f"{receipt['checkpoint']['bytes'] / 1e6:.2f} MB, sha256 {receipt['checkpoint']['sha256'][:12]}",
        }
    tables = [name for name in plan.tables if run in build.runs_of(name)]
    texts["used in"] = ", ".join(tables) or "no table: it is only a guide"
    if text := caveat(build, run):
        texts["note"] = text
    return texts


GUIDES = {"pixels": "raw pixels", "random": "an untrained network"}
"""Guides that are not runs, as text."""


def guide(build: Build, run: str) -> str | None:
    """Return the guide of a run's strategies: another run, or a description. None if no strategy uses a guide."""
    entry = build.plan.runs[run]
    guides = [
        settings["guide"] for settings in entry["spec"]["strategies"].values() if settings and "guide" in settings
    ]
    return entry["guide"] or next((_in_words(build, guide) for guide in guides), None)


def _in_words(build: Build, guide: dict) -> str:
    if guide["kind"] == "weights":
        encoder = guide["encoder"]
        planned = build.plan.encoders.get(encoder["sha256"])
        title = planned["config"]["title"] if planned else encoder["network"]
        size = f" at {guide['size']} px" if guide["size"] else ""
        return f"{title}{size}, {guide['distance']}, sha256 {encoder['sha256'][:12]}"
    return GUIDES.get(guide["kind"], guide["kind"])


def data(build: Build, run: str) -> str:
    """Describe the data set of a run and its content."""
    name = build.plan.runs[run]["dataset"]
    dataset = build.plan.datasets[name]
    return f"{name} ({dataset['title']}), sha256 {dataset['content'][:12]}"


def code(receipt: Receipt) -> str:
    """Return the fingerprint of the code that trained a run, and whether it is current."""
    spec = receipt["spec"]
    now = training_code(*spec["method"], tuple(spec["strategies"]), spec["backbone"]["kind"])
    return receipt["code"] + ("" if receipt["code"] == now else ": trained by older code")


def state(build: Build, run: str) -> str:
    """Describe whether a run is done and where its checkpoint is, or what a build would do."""
    if run not in build.receipts:
        return "missing: a build trains it"
    if build.has_checkpoint(run):
        return "done, checkpoint present" + (" and published" if build.is_published(run) else ", not published")
    if build.is_published(run):
        return "done, checkpoint published (restorable)"
    return "done, checkpoint missing and never published"


def caveat(build: Build, run: str) -> str | None:
    """Return what a reader of the run's numbers should know, if there is something."""
    receipt, of_guide = build.receipts.get(run), build.receipts.get(build.plan.runs[run]["guide"])
    if receipt and of_guide and receipt.get("guide_checkpoint") not in (None, of_guide["checkpoint"]["sha256"]):
        return "its guide has since been retrained and has different weights"
    return None


def score(build: Build, evaluation: str) -> dict[str, Any] | None:
    """Return the metrics of an evaluation and whether older code measured them; None if it is not done."""
    sources = {p: build.source(evaluation, p) for p in build.plan.evaluations[evaluation]["protocols"]}
    if not set(sources.values()) <= build.evaluated:
        return None
    measured = {protocol: build.evaluation(name) for protocol, name in sources.items()}
    backbone = build.plan.runs[build.plan.evaluations[evaluation]["run"]]["spec"]["backbone"]["kind"]
    values = {
        f"{p}.{metric}": value for p, evaluated in measured.items() for metric, value in evaluated.protocols[p].items()
    }
    return {
        "values": {metric: value for metric, value in values.items() if metric in METRICS},
        "older": any(
            evaluated.code != evaluation_code(tuple(evaluated.protocols), backbone) for evaluated in measured.values()
        ),
    }


# --- what if --------------------------------------------------------------------------------------------------------


@dataclass
class Difference:
    """What a build of a changed configuration would do beyond the current one."""

    trained: list[str]
    """Runs trained because of the change, including guides and runs whose checkpoint is missing."""
    restored: list[str]
    """Runs whose checkpoint is restored because of the change."""
    evaluated: list[str]
    """Evaluations run because of the change."""
    already_trained: list[str]
    """Runs that are not in the current plan but already have a receipt."""
    kept: int
    """Number of runs that do not change."""
    tables: list[str]
    """Tables that would be rewritten."""
    seconds: float
    unknown: int


def difference(now: Build, then: Build, subject: Subject | None = None) -> Difference:
    """Compare two plans in one folder, for the selected tables or those of a subject."""
    cells = set(subject.cells) if subject else None
    only_guides = False
    if subject and not subject.cells:  # one run: the runs in its cells, or the guides of those runs
        cells = _cells_with(now, set(subject.runs))
        only_guides = not cells
        if only_guides:
            cells = _cells_with(now, {run for run, entry in now.plan.runs.items() if entry["guide"] in subject.runs})

    def parts(build: Build) -> tuple[set[str], set[str]]:
        chosen = [
            replicate
            for table in (build.plan.selected if cells is None else build.plan.tables)
            for cell in build.plan.tables[table]["cells"]
            for replicate in cell["replicates"]
            if cells is None or cells & {key := (table, cell["row"], cell["column"]), (*key, replicate["seed"])}
        ]
        runs = {replicate["run"] for replicate in chosen}
        if only_guides:
            return {guide for run in runs if (guide := build.plan.runs[run]["guide"])}, set()
        return set(build.with_guides(runs)), {
            name for replicate in chosen for name in build.sources(replicate["evaluation"])
        }

    def work(build: Build) -> tuple[set[str], set[str], set[str], set[str]]:
        runs, evaluations = parts(build)
        missing = [name for name in build.to_evaluate if name in evaluations]
        trained, restored = build.behind(missing, [run for run in runs if run not in build.receipts])
        return runs, set(missing), set(trained), set(restored)

    (runs, *work_now), (new_runs, *work_then) = work(now), work(then)
    evaluated, trained, restored = (sorted(new - old) for old, new in zip(work_now, work_then, strict=True))
    already_trained = sorted(run for run in new_runs - runs if run in then.receipts)
    seconds, unknown = estimate(then, trained, now)
    tables = [
        name
        for name in then.plan.selected
        if name not in now.plan.tables or now.plan.tables[name]["key"] != then.plan.tables[name]["key"]
    ]
    if subject and subject.cells:
        tables = [name for name in tables if name in {key[0] for key in subject.cells}]
    return Difference(trained, restored, evaluated, already_trained, len(runs & new_runs), tables, seconds, unknown)


def _cells_with(build: Build, runs: set[str]) -> set[tuple]:
    """Return table, row, column and seed of every cell that uses one of the runs."""
    return {
        (table, cell["row"], cell["column"], replicate["seed"])
        for table, plan in build.plan.tables.items()
        for cell in plan["cells"]
        for replicate in cell["replicates"]
        if replicate["run"] in runs
    }
