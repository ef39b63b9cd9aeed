"""``sslpairs explain``: human-readable output on where a number comes from, and what a change would retrain."""

import json
from collections import Counter
from statistics import mean, stdev
from typing import Any

from rich.table import Table

from sslpairs.config.changes import with_change
from sslpairs.config.reading import read_config
from sslpairs.data.record import contents
from sslpairs.git import commit_words
from sslpairs.plan import explain as explaining
from sslpairs.plan.build import Build
from sslpairs.plan.explain import Subject
from sslpairs.plan.machines import mixture
from sslpairs.plan.planner import make_plan
from sslpairs.terminal.screen import out
from sslpairs.words import counted, duration


def show(build: Build, subject: Subject, full: bool) -> None:
    """Show a run, or the runs and numbers of a table, a figure or a cell; with ``full`` also the recipes."""
    out.say(subject.title, style="bold")
    if subject.cells:
        _show_cells(build, subject, full)
    else:
        _show_run(build, subject.runs[0], full)


def _say(name: str, text: str, width: int) -> None:
    out.say(f"  {name + ':':<{width}} {text}")


def _show_run(build: Build, run: str, full: bool) -> None:
    for name, text in explaining.facts(build, run).items():
        _say(name, text, 22)
    for evaluation in build.evaluations:
        if (entry := build.plan.evaluations[evaluation])["run"] == run:
            score = explaining.score(build, evaluation)
            text = "not evaluated yet"
            if score:
                text = ", ".join(f"{name} {value:.2f}" for name, value in score["values"].items())
                text += " (measured by older code)" if score["older"] else ""
            _say(f"evaluation {entry['key']}", text, 22)
    spec = build.plan.runs[run]["spec"]
    _say("recipe", json.dumps(spec, indent=2 if full else None, ensure_ascii=False), 22)


def _show_cells(build: Build, subject: Subject, full: bool) -> None:
    states = Counter(explaining.state(build, run) for run in subject.runs)
    receipts = [build.receipts[run] for run in subject.runs if run in build.receipts]
    guides = dict.fromkeys(guide for run in subject.runs if (guide := explaining.guide(build, run)))
    overview = {
        "runs": f"{len(subject.runs)}: " + "; ".join(f"{number} {words}" for words, number in states.items()),
        "guides": ", ".join(guides),
        "data": ", ".join(dict.fromkeys(explaining.data(build, run) for run in subject.runs)),
        "commits": ", ".join(dict.fromkeys(commit_words(receipt["git"]) for receipt in receipts)),
        "code": ", ".join(dict.fromkeys(explaining.code(receipt) for receipt in receipts)),
        "devices": ", ".join(dict.fromkeys(receipt["device"] for receipt in receipts)),
        "time": duration(sum(receipt["timing"]["seconds"] for receipt in receipts)) + " of training",
        "note": mixture(receipts) or "",
    }
    for name, text in overview.items():
        if text:
            _say(name, text, 10)
    out.print(_numbers(build, subject))
    for run in subject.runs:
        if text := explaining.caveat(build, run):
            out.say(f"note: {run}: {text}")
    if full:
        for run in subject.runs:
            spec = json.dumps(build.plan.runs[run]["spec"], ensure_ascii=False)
            out.say(f"{run}: {spec}")


def _numbers(build: Build, subject: Subject) -> Table:
    """One line for each seed of a cell, followed by mean and standard deviation."""
    tables = {table: build.plan.tables[table] for table, _, _ in subject.cells}
    planned_cells = {(table, c["row"], c["column"]): c for table, plan in tables.items() for c in plan["cells"]}
    labels = {(table, column["id"]): column["label"] for table, plan in tables.items() for column in plan["columns"]}
    metrics = list(dict.fromkeys(metric for plan in tables.values() for metric in plan["metrics"]))
    view = Table()
    for name in ("row", "column", "seed", *metrics, "run"):
        view.add_column(name, justify="right" if name in ("seed", *metrics) else "left", no_wrap=name != "column")
    for cell in subject.cells:
        label, values = labels[cell[0], cell[2]], {metric: [] for metric in metrics}
        for replicate in planned_cells[cell]["replicates"]:
            score = explaining.score(build, replicate["evaluation"])
            measured: dict[str, float] = score["values"] if score else {}
            for metric in metrics:
                values[metric] += [measured[metric]] if metric in measured else []
            numbers = [f"{measured[metric]:.2f}" if metric in measured else "-" for metric in metrics]
            view.add_row(cell[1], label, str(replicate["seed"]), *numbers, replicate["run"])
        if any(len(of_seeds) > 1 for of_seeds in values.values()):
            view.add_row(cell[1], label, "mean ± sd", *map(_mean, values.values()), "", style="bold")
            view.add_section()
    return view


def _mean(values: list[float]) -> str:
    return f"{mean(values):.2f} ± {stdev(values):.2f}" if len(values) > 1 else "-"


# --- what if --------------------------------------------------------------------------------------------------------


def changed(build: Build, changes: list[str], choices: dict[str, Any]) -> Build:
    """Return the build of the configuration after some changes. Raise ``UserError`` for an invalid change."""
    config = read_config(build.root, choices)
    for change in changes:
        config = with_change(config, change)
    return Build(make_plan(config, contents(build.root, config.datasets)), build.root)


def what_if(build: Build, then: Build, subject: Subject | None, changes: list[str]) -> None:
    """Show what a build of the changed configuration would do, for the selected tables or for the subject's cells."""
    difference = explaining.difference(build, then, subject)
    out.say(f"If {' and '.join(changes)}:", style="bold")
    known = difference.trained and difference.unknown < len(difference.trained)
    cost = f", about {duration(difference.seconds)} sequentially" if known else ""
    before = f"; {len(difference.already_trained)} more already trained" if difference.already_trained else ""
    out.say(f"  train      {counted(len(difference.trained), 'run')}{cost}{before}")
    for label, number in Counter(then.plan.runs[run]["label"] for run in difference.trained).items():
        out.say(f"               {number} x {label}")
    if difference.restored:
        out.print(f"  restore    {counted(len(difference.restored), 'checkpoint')}")
    out.print(f"  evaluate   {counted(len(difference.evaluated), 'checkpoint')}")
    out.print(f"  keep       {counted(difference.kept, 'run')}")
    out.say(f"  write      {', '.join(difference.tables) or 'no table'}")
