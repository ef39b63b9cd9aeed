"""``sslpairs plan``: what a build would do, and its cost."""

import math
import os
from typing import Annotated

import typer

from sslpairs.cli.common import LOOK, Sets, Targets, app, chosen_tables, open_build
from sslpairs.errors import UserError
from sslpairs.terminal.screen import out
from sslpairs.words import counted, duration


@app.command(rich_help_panel=LOOK)
def plan(
    targets: Targets = None,
    sets: Sets = [],  # noqa: B006
    runs: Annotated[bool, typer.Option("--runs", help="List every run.")] = False,
    no_train: Annotated[
        bool, typer.Option("--no-train", help="Fail and give the reasons if a build would have to train anything.")
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="Also show the resources that the jobs request from this profile's cluster.",
        ),
    ] = None,
) -> None:
    """List the runs (including guides), what is done, and what a build would do and cost."""
    from collections import Counter

    from rich.table import Table

    from sslpairs.workflow.builds import no_commit

    build = open_build(sets)
    tables = chosen_tables(build, targets or [])
    view = Table(title=f"Scale {build.plan.scale['title']}, seeds {build.plan.settings['seeds']}", title_justify="left")
    for column in ("table", "runs", "train", "restore", "evaluate", "estimate"):
        view.add_column(column, justify="left" if column == "table" else "right", no_wrap=column == "table")
    runs_of = {table: build.with_guides(build.runs_of(table)) for table in tables}
    for table in tables:
        to_train, to_evaluate, to_restore = build.needs([table])
        counts = map(str, map(len, (runs_of[table], to_train, to_restore, to_evaluate)))
        view.add_row(table, *counts, _cost(build, to_train))
    to_train, to_evaluate, to_restore = build.needs(tables)
    every = Counter(run for table in tables for run in runs_of[table])
    view.add_section()
    counts = map(str, map(len, (every, to_train, to_restore, to_evaluate)))
    view.add_row("total", *counts, _cost(build, to_train))
    out.print(view)
    if shared := sum(times > 1 for times in every.values()):
        out.say(f"{counted(shared, 'run is')} used in more than one table; each is trained once.")
    if runs:
        for run in dict.fromkeys([*to_train, *sorted(every)]):
            idle = "done" if run in build.receipts else "a guide that is not needed now"
            out.say(f"{run}  {build.to_train[run] if run in to_train else idle}")
    for note in build.plan.notes:
        out.say(f"note: {note}")
    _say_missing(build, tables)
    if profile:
        _say_requests(build, profile, to_train, to_evaluate)
    for line in build.damaged:
        out.say(f"damaged: {line}")
    if note := no_commit(build):
        out.say(note)
    if no_train and to_train:
        first = "\n".join(f"  {run}: {build.to_train[run]}" for run in to_train[:10])
        more = f"\n  and {len(to_train) - 10} more" if len(to_train) > 10 else ""
        raise UserError(f"{counted(len(to_train), 'run')} would have to be trained:\n{first}{more}")


def _say_missing(build, tables: list[str]) -> None:
    from sslpairs.config.datasets import DatasetSettings
    from sslpairs.terminal.datasets import missing
    from sslpairs.workflow.fetch import availability
    from sslpairs.workflow.weights import missing_weights

    for line in missing_weights(build, build.needs(tables)[0]):
        out.say(line)
    names = [name for name in build.plan.datasets_of(tables) if name in build.plan.unprepared]
    if not names:
        return
    wanted = {name: DatasetSettings.model_validate(build.plan.datasets[name]["config"]) for name in names}
    for line in missing(availability(build.root, wanted)):
        out.say(line)


def _say_requests(build, profile: str, to_train: list[str], to_evaluate: list[str]) -> None:
    from collections import Counter

    from rich.table import Table

    from sslpairs.plan.requests import Requests
    from sslpairs.workflow.cluster import profile_site

    site = profile_site(build.root, profile)
    if site is None:
        out.print(f"Profile {profile}: everything runs on this machine.")
        return
    requests = Requests(build, site)
    jobs = Counter(("training", requests.training(run)) for run in to_train)
    jobs += Counter(("evaluation", requests.evaluation(name)) for name in to_evaluate)
    if not jobs:
        out.print(f"Profile {profile}: no jobs to request.")
        return
    rows: dict[tuple, list] = {}
    for (kind, request), count in jobs.items():
        gpus = "a share" if request.shares else str(request.gpus or "-")
        gpus += f" on {request.nodes} nodes" * (request.nodes > 1)
        row = (kind == "evaluation", -request.minutes, kind, gpus, request.cpus, request.memory_mb, request.basis)
        rows.setdefault(row, []).append((count, request))
    view = Table(title=f"Jobs requested with profile {profile}", title_justify="left")
    for column in ("jobs", "", "GPUs", "cores", "memory", "time", "expected", "estimated from"):
        view.add_column(column, justify="left" if column in ("", "estimated from") else "right")
    for (_, minutes, kind, gpus, cpus, memory, basis), group in sorted(rows.items()):
        limit = min(-minutes, site.longest_job or -minutes)
        row = requests.jobs_in_a_row(group[0][1])
        seconds = [request.seconds for _, request in group]
        expected = [duration(min(seconds)), duration(max(seconds))]
        view.add_row(
            str(sum(count for count, _ in group)),
            kind,
            gpus,
            str(cpus),
            f"{memory / 1000:.1f} GB",
            duration(60 * limit) + f" x {row}" * (row > 1),
            " to ".join(dict.fromkeys(expected)),
            basis,
        )
    out.print(view)
    total = sum(
        count * request.seconds * request.processes / (site.gpu_shares if request.shares else 1)
        for (_, request), count in jobs.items()
    )
    device = "GPU" if requests.on_gpu else "CPU"
    size = sum(requests.checkpoint_bytes(run) for run in to_train) / 1e9
    work = f"{total / 3600:,.0f} {device} hours" if total > 36000 else f"{duration(total)} of a {device}"
    out.say(f"Expected: about {work} for trainings and evaluations, {size:,.1f} GB of checkpoints.")
    if guessed := sum(count for (_, request), count in jobs.items() if request.basis == "recipe"):
        guess = f"{site.gpu_tflops} x 10^12 operations/s per GPU" if requests.on_gpu else "a CPU core"
        out.say(f"{guessed} of the jobs have no receipt to estimate from: the speed of {guess} is a guess.")
    memory = [request.gpu_memory_gb for _, request in jobs if request.gpu_memory_gb < math.inf]
    if large := sum(size > site.gpu_memory_gb for size in memory):
        out.say(
            f"{counted(large, 'kind')} of runs may need more memory than a GPU has ({max(memory):,.0f} of {site.gpu_memory_gb} GB): set "
            "training.gpus in the recipe (docs/several-gpus.md)."
        )


def _cost(build, runs: list[str]) -> str:
    from sslpairs.plan.estimate import estimate

    if not runs:
        return "nothing to train"
    seconds, unknown = estimate(build, runs)
    if unknown == len(runs):
        return "no timings yet"
    jobs = build.plan.settings["jobs"]
    cores = min(os.cpu_count() or 1, jobs) if isinstance(jobs, int) else os.cpu_count() or 1
    side_by_side = max(1, cores // build.plan.scale["threads"])
    text = duration(seconds / min(side_by_side, len(runs)))
    return f"about {text}" + (f" and {unknown} unknown" if unknown else "")
