"""Commands that create data, runs and evaluations: ``fetch``, ``train``, ``evaluate``."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslpairs.cli.common import (
    BUILD,
    Device,
    LogFile,
    PlanFile,
    Sets,
    app,
    find_root,
    known,
    log,
    open_build,
    overrides,
    settle_dates,
    start_log,
)
from sslpairs.cli.progress import Progress
from sslpairs.distributed.launch import relaunch_under_torchrun
from sslpairs.distributed.processes import World, process_group, under_torchrun
from sslpairs.errors import UserError
from sslpairs.locks import exclusive
from sslpairs.words import duration

if TYPE_CHECKING:
    from sslpairs.plan.build import Build


@app.command(rich_help_panel=BUILD)
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="Data sets and encoders; default: those that the configuration needs.")
    ] = None,
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    force: Annotated[bool, typer.Option("--force", help="Prepare existing data sets again.")] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Only data sets whose content is not recorded in data.dvc.")
    ] = False,
    given: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Where the files of the one data set or encoder are, in any form (docs/data.md).",
        ),
    ] = None,
    show: Annotated[
        bool,
        typer.Option("--list", help="List them, by default all: images, size, what is here, terms; fetch nothing."),
    ] = False,
    log_file: LogFile = None,
) -> None:
    """Download data sets and encoders' weights where needed, prepare the data once, and record their content in data.dvc."""
    from sslpairs.workflow.fetch import availability, check_names, fetch_datasets

    start_log(log_file)
    root = find_root()
    if show:
        from sslpairs.config.reading import read_config
        from sslpairs.terminal.datasets import encoders_listing, listing, origins
        from sslpairs.terminal.screen import out
        from sslpairs.workflow.weights import states

        config = read_config(root, overrides(sets))
        datasets, encoders = config.datasets, config.encoders
        check_names(names or [], [*datasets, *encoders])
        if found := availability(root, {name: datasets[name] for name in datasets if name in (names or datasets)}):
            out.print(listing(found))
            for line in origins(found):
                out.say(line)
        if chosen := {name: encoders[name] for name in encoders if name in (names or encoders)}:
            rows = list(states(root, chosen))
            out.print(encoders_listing(row[:3] for row in rows))
            for name, *_, place in rows:
                out.say(f"{name}: {place}")
        return
    for line in fetch_datasets(root, names or [], overrides(sets), frozen, force, unknown, given):
        print(line, file=sys.stderr)


@app.command(rich_help_panel=BUILD)
def train(
    run: Annotated[str, typer.Argument(help="Id of a run, as listed by `sslpairs plan --runs`.")],
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    log_file: LogFile = None,
    force: Annotated[bool, typer.Option("--force", help="Train again even if there is a receipt.")] = False,
    evaluation: Annotated[
        str | None, typer.Option("--evaluate", metavar="KEY", help="Then make this evaluation of it, too.")
    ] = None,
    device: Device = None,
) -> None:
    """Train one run and write checkpoint, metrics and receipt; uses as many GPUs as its recipe specifies."""
    start_log(log_file)
    build = None if under_torchrun() else open_build(sets, frozen)
    if build:
        entry = known(run, build.plan.runs, "run")
        words = ["train", run, *(word for choice in sets for word in ("--set", choice)), *["--force"] * force]
        options = {"--plan": frozen, "--log": log_file, "--evaluate": evaluation, "--device": device}
        for option, value in options.items():
            words += [option, str(value)] * bool(value)
        relaunch_under_torchrun(entry["gpus"], device or build.plan.settings["device"], words, run)
    with process_group() as world:
        if not world.is_rank_zero:
            logging.getLogger("sslpairs").setLevel(logging.ERROR)
        build = build or open_build(sets, frozen)
        entry = known(run, build.plan.runs, "run")
        with _run_to_train(build, run, force, world) as wanted:
            if world.broadcast(lambda: wanted):
                from sslpairs.training.run import train as train_run

                scale = build.plan.scale
                with Progress(run, quiet=log_file is not None) as progress:
                    receipt = train_run(
                        run,
                        entry,
                        build.root,
                        device or build.plan.settings["device"],
                        scale["threads"],
                        progress if world.is_rank_zero else None,
                        force,
                        compiled=scale["compile"],
                        git=build.plan.git,
                    )
            else:
                receipt = None
    if not world.is_rank_zero:
        return
    facts = []
    if receipt:
        settle_dates(build, build.training_inputs(run))
        facts = [f"{receipt['spec']['epochs']} epochs in {duration(receipt['timing']['seconds'])}"]
        facts += [f"loss {receipt['loss']:.4f}"]
        facts += [] if evaluation else [f"online {receipt['online']['last']:.1f} %"]
    if evaluation:
        facts += [_evaluate(build, f"{run}/{evaluation}", device)]
    if facts:
        _say_done(log_file, f"trained {run}: {', '.join(facts)}")


def _say_done(log_file: Path | None, text: str) -> None:
    """Report the end of a job to its log, from which the build shows this line; without a log, to the terminal."""
    log.info(text) if log_file else print(text)


@contextlib.contextmanager
def _run_to_train(build, run: str, force: bool, world: World) -> Iterator[bool]:
    """Hold the run's lock on rank 0, and yield whether to train the run."""
    from sslpairs.plan.build import is_whole
    from sslpairs.plan.paths import run_folder

    if not world.is_rank_zero:
        yield False
        return
    # Several processes do not wait: the other ranks would time out after some minutes.
    what = "waiting for it" if world.size == 1 else "start again when it has ended"
    lock = build.root / run_folder(run) / ".lock"
    with exclusive(lock, f"{run}: another process is training or restoring it; {what}", patient=world.size == 1):
        wanted = force or not is_whole(run, build.root)
        if not wanted:
            print(f"{run}: already trained (--force trains it again)")
        yield wanted


@app.command(rich_help_panel=BUILD)
def evaluate(
    run: Annotated[str, typer.Argument(help="Id of a finished run.")],
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    key: Annotated[str | None, typer.Option("--key", help="Key of the evaluation; default: as in the plan.")] = None,
    log_file: LogFile = None,
    device: Device = None,
) -> None:
    """Evaluate one checkpoint under the protocols of its recipe."""
    start_log(log_file)
    build = open_build(sets, frozen)
    known(run, build.plan.runs, "run")
    entries = [build.plan.evaluations[name] for name in build.evaluations]
    entries = [entry for entry in entries if entry["run"] == run and key in (None, entry["key"])]
    if not entries:
        raise UserError(
            f"'{run}' has no evaluation{f' {key}' if key else ''} in this plan: it is only a guide for other runs"
        )
    for entry in entries:
        _say_done(log_file, f"evaluated {run}: {_evaluate(build, f'{run}/' + entry['key'], device)}")


def _evaluate(build: "Build", name: str, device: str | None) -> str:
    """Make an evaluation of the plan, and return its numbers in words."""
    from sslpairs.evaluation.evaluate import evaluate as evaluate_run

    entry = known(name, build.plan.evaluations, "evaluation")
    result = evaluate_run(
        entry["run"],
        entry["key"],
        entry["protocols"],
        build.root,
        device or build.plan.settings["device"],
        build.plan.scale["threads"],
        (entry["dataset"], entry["content"]) if "dataset" in entry else None,
    )
    settle_dates(build, build.evaluation_inputs(name))
    return _numbers(result)


def _numbers(result: dict[str, Any]) -> str:
    """The first metric of each protocol."""
    from sslpairs.config.protocols import PROTOCOLS

    shown = [(name, next(iter(PROTOCOLS[name].metrics))) for name in result["protocols"]]
    return ", ".join(f"{name}.{metric} {result['protocols'][name][metric]:.1f}" for name, metric in shown)


@app.command(hidden=True)
def baseline(
    name: Annotated[str, typer.Argument(help="Name of a baseline of the plan.")],
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    log_file: LogFile = None,
    device: Device = None,
) -> None:
    """Measure raw pixels or an untrained network under the protocols of the recipe."""
    start_log(log_file)
    build = open_build(sets, frozen)
    entry = known(name, build.plan.baselines, "baseline")
    from sslpairs.evaluation.baselines import measure_baseline

    settings = build.plan.settings
    result = measure_baseline(name, entry, build.root, device or settings["device"], build.plan.scale["threads"])
    _say_done(log_file, f"measured {result['run']}: {_numbers(result)}")
    settle_dates(build, build.baseline_inputs(name))
