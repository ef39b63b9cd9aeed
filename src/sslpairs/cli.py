"""The command ``sslpairs``. Imports torch only where something is trained, evaluated or drawn."""

import contextlib
import errno
import logging
import math
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from sslpairs import __version__
from sslpairs.errors import UserError, nearest
from sslpairs.files import date_now, dated_ahead, exclusive, unwritable
from sslpairs.own import check_own_code
from sslpairs.team import Team, start_together, started_together, together
from sslpairs.terminal.screen import accept_any_encoding, out
from sslpairs.words import counted, duration, redact

LOOK, BUILD, SHARE, MAINTAIN = "Look", "Build", "Share", "Maintain"
"""Panels of the help."""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,  # they may hold passwords
    help="Regenerate the tables and figures of five papers on pairs in self-supervised learning.",
)
log = logging.getLogger(__name__)

Sets = Annotated[
    list[str],
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="A choice of config/config.yaml, for example seeds=5."),
]
Targets = Annotated[list[str] | None, typer.Argument(help="Papers or tables; default: what config.yaml chooses.")]
PlanFile = Annotated[
    Path | None,
    typer.Option("--plan", envvar="SSLPAIRS_PLAN", help="A frozen plan; the workflow gives it to its jobs."),
]
Device = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:1; default: what the plan or config.yaml says.")
]
LogFile = Annotated[Path | None, typer.Option("--log", help="Write everything that is said to this file as well.")]


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"sslpairs {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Entry point: errors that a user can mend are one or two lines and exit code 2."""
    accept_any_encoding()
    try:
        app(arguments, standalone_mode=True, prog_name="sslpairs")
    except UserError as error:
        _say_error(str(error))
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        denied = error.errno in (errno.EACCES, errno.EPERM)
        _say_error(unwritable(error.filename or "a file", error, "read or written" if denied else "written"))
        sys.exit(2)
    except Exception:
        # Ours to mend, not the user's: keep the traceback, in the log too.
        for handler in logging.getLogger("sslpairs").handlers:
            handler.handle(
                logging.makeLogRecord(
                    {"name": "sslpairs", "levelno": 40, "levelname": "ERROR", "msg": redact(traceback.format_exc())}
                )
            )
        raise


def _say_error(text: str) -> None:
    for handler in logging.getLogger("sslpairs").handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(
                logging.makeLogRecord(
                    {"name": "sslpairs", "levelno": 40, "levelname": "ERROR", "msg": f"error: {text}"}
                )
            )
    print(f"error: {text}", file=sys.stderr)


# --- the project and its plan ------------------------------------------------------------------------------------


def find_root() -> Path:
    """The nearest folder, from here upwards, with config/config.yaml. ``UserError`` when it has other code than that which runs."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "config" / "config.yaml").exists():
            check_own_code(folder)
            return folder
    raise UserError(f"{here}: no config/config.yaml here or above; change to the project's folder")


def overrides(words: list[str]) -> dict[str, Any]:
    """``["seeds=5"]`` as a mapping; keys are checked when the configuration is read."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise UserError(f"command line: --set {word}: write KEY=VALUE, for example --set seeds=5")
        found[key] = value
    return found


def open_build(sets: list[str], frozen: Path | None = None):
    """The build that the configuration, the command line or a frozen plan describes."""
    from sslpairs.front import make_build
    from sslpairs.plan.build import Build, thaw

    root = find_root()
    return Build(thaw(frozen), root) if frozen else make_build(root, overrides(sets))


def chosen_tables(build, targets: list[str], what: str = "neither a paper nor a table") -> list[str]:
    """Table ids for names of papers and tables; all selected ones when there are none."""
    from sslpairs.front import unknown_target

    if not targets:
        return build.plan.selected
    for target in targets:
        if problem := unknown_target(build, target, what):
            raise UserError(problem)
    known = build.targets()
    return list(dict.fromkeys(table for target in targets for table in known[target]))


def start_log(path: Path | None) -> None:
    """Facts to the terminal; with a file, facts to the file and only warnings to the terminal."""
    logger = logging.getLogger("sslpairs")
    logger.handlers.clear()
    logger.setLevel(logging.INFO)
    screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(screen)
    if path:
        screen.setLevel(logging.WARNING)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path, mode="a", encoding="utf-8", errors="backslashreplace")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(file)


# --- looking ------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=LOOK)
def plan(
    targets: Targets = None,
    sets: Sets = [],  # noqa: B006
    runs: Annotated[bool, typer.Option("--runs", help="List every run.")] = False,
    no_train: Annotated[
        bool, typer.Option("--no-train", help="Fail, and say why, if a build would have to train anything.")
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="Say what the jobs ask this profile's cluster for, too."),
    ] = None,
) -> None:
    """List the runs (guides included), what is done, and what a build would do and cost."""
    from collections import Counter

    from rich.table import Table

    from sslpairs.front import no_commit

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
    view.add_row("together", *counts, _cost(build, to_train))
    out.print(view)
    if shared := sum(times > 1 for times in every.values()):
        stand = "stands" if shared == 1 else "stand"
        out.print(
            f"{counted(shared, 'run')} {stand} behind more than one table; each is trained once.",
            soft_wrap=True,
        )
    if runs:
        for run in dict.fromkeys([*to_train, *sorted(every)]):
            state = (
                build.to_train.get(run)
                if run in to_train
                else "done"
                if run in build.receipts
                else "a guide that nothing needs now"
            )
            out.print(f"{run}  {state}", soft_wrap=True)
    for note in build.plan.notes:
        out.print(f"note: {note}", soft_wrap=True, markup=False)
    if profile:
        _say_requests(build, profile, to_train, to_evaluate)
    _say_damage(build)
    if note := no_commit(build):
        out.print(note, soft_wrap=True, markup=False)
    if no_train and to_train:
        first = "\n".join(f"  {run}: {build.to_train[run]}" for run in to_train[:10])
        more = f"\n  and {len(to_train) - 10} more" if len(to_train) > 10 else ""
        raise UserError(f"{counted(len(to_train), 'run')} would have to be trained:\n{first}{more}")


def _say_requests(build, profile: str, to_train: list[str], to_evaluate: list[str]) -> None:
    from collections import Counter

    from rich.table import Table

    from sslpairs.front import profile_site
    from sslpairs.plan.requests import Requests

    site = profile_site(build.root, profile)
    if site is None:
        out.print(f"Profile {profile}: everything runs on this machine.")
        return
    requests = Requests(build, site)
    asked = Counter(("training", requests.training(run)) for run in to_train)
    asked += Counter(("evaluation", requests.evaluation(name)) for name in to_evaluate)
    if not asked:
        out.print(f"Profile {profile}: there is nothing to ask for.")
        return
    rows: dict[tuple, list] = {}
    for (kind, request), count in asked.items():
        gpus = "a share" if request.shares else str(request.gpus or "-")
        gpus += f" on {request.nodes} nodes" * (request.nodes > 1)
        row = (kind == "evaluation", -request.minutes, kind, gpus, request.cpus, request.memory_mb, request.basis)
        rows.setdefault(row, []).append((count, request))
    view = Table(title=f"Jobs, as profile {profile} asks for them", title_justify="left")
    for column in ("jobs", "", "GPUs", "cores", "memory", "time", "expected", "known from"):
        view.add_column(column, justify="left" if column in ("", "known from") else "right")
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
        for (_, request), count in asked.items()
    )
    device = "GPU" if requests.on_gpu else "processor"
    size = sum(requests.checkpoint_bytes(run) for run in to_train) / 1e9
    work = f"{total / 3600:,.0f} {device} hours" if total > 36000 else f"{duration(total)} of a {device}"
    out.print(f"Expected: about {work} for trainings and evaluations, {size:,.1f} GB of checkpoints.", soft_wrap=True)
    guessed = sum(count for (_, request), count in asked.items() if request.basis == "recipe")
    if guessed:
        guess = f"{site.gpu_tflops} x 10^12 operations a second and GPU" if requests.on_gpu else "a processor core"
        out.print(f"{guessed} of the jobs have no receipt to go by: the speed of {guess} is a guess.", soft_wrap=True)
    memory = [request.gpu_memory_gb for _, request in asked if request.gpu_memory_gb < math.inf]
    if large := sum(size > site.gpu_memory_gb for size in memory):
        out.print(
            f"{counted(large, 'kind')} of runs may need more memory than a GPU has ({max(memory):,.0f} of {site.gpu_memory_gb} GB): write "
            "training.gpus into the recipe (docs/several-gpus.md).",
            soft_wrap=True,
        )


def _say_damage(build) -> None:
    for line in build.damaged:
        out.print(f"damaged: {line}", soft_wrap=True, markup=False)


def _cost(build, runs: list[str]) -> str:
    if not runs:
        return "nothing to train"
    seconds, unknown = build.estimate(runs)
    if unknown == len(runs):
        return "no timings yet"
    jobs = build.plan.settings["jobs"]
    cores = min(os.cpu_count() or 1, jobs) if isinstance(jobs, int) else os.cpu_count() or 1
    side_by_side = max(1, cores // build.plan.scale["threads"])
    text = duration(seconds / min(side_by_side, len(runs)))
    return f"about {text}" + (f" and {unknown} unknown" if unknown else "")


@app.command(rich_help_panel=LOOK)
def status(
    targets: Targets = None,
    sets: Sets = [],  # noqa: B006
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it every two seconds until all is done, or Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write everything as JSON, for programs.")] = False,
) -> None:
    """Show how far each table is: runs done, trained now (with the time left), missing and failed, with the words of failures.

    Columns that hold zeros alone are left out: training, restorable (the checkpoint is published and not here), missing, failed.
    """
    import json

    from sslpairs.plan.build import Build
    from sslpairs.terminal import status as state

    if watch and as_json:
        raise UserError("--watch shows it for people, --json for programs: choose one of them")
    build = open_build(sets)
    tables = chosen_tables(build, targets or [])
    if watch:
        state.watch(lambda: state.collect(Build(build.plan, build.root), tables))
    elif as_json:
        print(json.dumps(state.collect(build, tables).plain(), indent=1))
    else:
        state.show(state.collect(build, tables))


@app.command(rich_help_panel=LOOK)
def explain(
    what: Annotated[
        str | None,
        typer.Argument(help="A table, a figure, a cell TABLE:ROW:COLUMN, or a run (or the end of its id)."),
    ] = None,
    changes: Annotated[
        list[str],
        typer.Option("--if", metavar="KEY=VALUE", help="Say what this change would train anew; may be given again."),
    ] = [],  # noqa: B006
    sets: Sets = [],  # noqa: B006
    full: Annotated[bool, typer.Option("--full", help="Show the recipe in full.")] = False,
) -> None:
    """Say where a number comes from, and what a change of the configuration would train anew."""
    from sslpairs.plan.explain import find
    from sslpairs.terminal import explain as explaining

    build = open_build(sets)
    if what is None and not changes:
        raise UserError("name a table, a figure, a cell or a run, or a change: --if methods.simclr.temperature=0.2")
    subject = find(build, what) if what else None
    then = explaining.changed(build, changes, overrides(sets)) if changes else None
    if subject:
        explaining.show(build, subject, full)
    if then:
        explaining.what_if(build, then, subject, changes)


@app.command(rich_help_panel=LOOK)
def doctor(sets: Sets = []) -> None:  # noqa: B006
    """Check the machine, the libraries, the configuration and the data."""
    from sslpairs.terminal.doctor import examine

    if problems := examine(lambda: open_build(sets)):
        raise UserError(f"{counted(problems, 'problem')}, see above")


# --- doing --------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=BUILD)
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="Data sets; default: those that the configuration needs.")
    ] = None,
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    force: Annotated[bool, typer.Option("--force", help="Prepare anew what is there.")] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Only data sets whose content data.dvc does not record.")
    ] = False,
    log_file: LogFile = None,
) -> None:
    """Prepare data sets, once, and record their content in data.dvc."""
    from sslpairs.front import fetch_datasets

    start_log(log_file)
    root = find_root()
    for line in fetch_datasets(root, names or [], overrides(sets), frozen, force, unknown):
        print(line, file=sys.stderr)


@app.command(rich_help_panel=BUILD)
def train(
    run: Annotated[str, typer.Argument(help="Id of a run, as `sslpairs plan --runs` lists them.")],
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    log_file: LogFile = None,
    force: Annotated[bool, typer.Option("--force", help="Train again although there is a receipt.")] = False,
    device: Device = None,
) -> None:
    """Train one run: checkpoint, metrics, receipt; on as many GPUs as its recipe asks for."""
    start_log(log_file)
    build = None if started_together() else open_build(sets, frozen)
    if build:
        entry = _known(run, build.plan.runs, "run")
        words = ["train", run, *(word for choice in sets for word in ("--set", choice))]
        words += (
            ["--plan", str(frozen)] * bool(frozen) + ["--log", str(log_file)] * bool(log_file) + ["--force"] * force
        )
        words += ["--device", device] * bool(device)
        start_together(entry["gpus"], device or build.plan.settings["device"], words, run)
    with together() as team:
        if not team.leads:
            logging.getLogger("sslpairs").setLevel(logging.ERROR)
        build = build or open_build(sets, frozen)
        entry = _known(run, build.plan.runs, "run")
        with _run_to_train(build, run, force, team) as wanted:
            if not team.agree(lambda: wanted):
                return
            from sslpairs.training.run import train as train_run

            scale = build.plan.scale
            with _progress(run, quiet=log_file is not None) as progress:
                receipt = train_run(
                    run,
                    entry,
                    build.root,
                    device or build.plan.settings["device"],
                    scale["threads"],
                    progress if team.leads else None,
                    force,
                    compiled=scale["compile"],
                    git=build.plan.git,
                )
    if not team.leads:
        return
    _settle(build, build.training_inputs(run))
    _say_done(
        log_file,
        f"trained {run}: {receipt['spec']['epochs']} epochs in {duration(receipt['timing']['seconds'])}, "
        f"loss {receipt['loss']:.4f}, online {receipt['online']['last']:.1f} %",
    )


def _say_done(log_file: Path | None, text: str) -> None:
    """How a job ended: to its log, from which the build takes the line that it shows; without one to the terminal."""
    log.info(text) if log_file else print(text)


@contextlib.contextmanager
def _run_to_train(build, run: str, force: bool, team: Team) -> Iterator[bool]:
    """Holds the run's lock, on the process that leads, and answers whether the run is to be trained."""
    from sslpairs.plan.build import is_whole, run_folder

    if not team.leads:
        yield False
        return
    # Several processes do not wait together: the others would give up after some minutes.
    what = "waiting for it" if team.size == 1 else "start again when that has ended"
    lock = build.root / run_folder(run) / ".lock"
    with exclusive(lock, f"{run}: another process trains or restores it; {what}", patient=team.size == 1):
        wanted = force or not is_whole(run, build.root)
        if not wanted:
            print(f"{run}: already trained (--force trains it again)")
        yield wanted


@app.command(rich_help_panel=BUILD)
def evaluate(
    run: Annotated[str, typer.Argument(help="Id of a finished run.")],
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    key: Annotated[str | None, typer.Option("--key", help="Key of the evaluation; default: the plan's.")] = None,
    log_file: LogFile = None,
    device: Device = None,
) -> None:
    """Evaluate one checkpoint: linear, online, knn."""
    start_log(log_file)
    build = open_build(sets, frozen)
    _known(run, build.plan.runs, "run")
    entries = [e for e in build.plan.evaluations.values() if e["run"] == run and key in (None, e["key"])]
    if not entries:
        raise UserError(f"'{run}' has no evaluation{f' {key}' if key else ''} in this plan: it only guides other runs")
    from sslpairs.evaluation.evaluate import evaluate as evaluate_run

    for entry in entries:
        result = evaluate_run(
            run,
            entry["key"],
            entry["protocols"],
            build.root,
            device or build.plan.settings["device"],
            build.plan.scale["threads"],
            (entry["dataset"], entry["content"]) if "dataset" in entry else None,
        )
        numbers = ", ".join(f"{name} {value['last']:.1f} %" for name, value in result["protocols"].items())
        _say_done(log_file, f"evaluated {run}: {numbers}")
        _settle(build, build.evaluation_inputs(f"{run}/{entry['key']}"))


Remote = Annotated[
    str | None, typer.Option("--remote", "-r", help="A remote of .dvc/config; default: the one that DVC uses.")
]


def _chosen_runs(build, targets: list[str]) -> list[str]:
    """Runs, and the runs (with their guides) of tables and papers; of all selected tables without targets."""
    names = [target for target in targets if target not in build.plan.runs]
    runs = [target for target in targets if target in build.plan.runs]
    tables = chosen_tables(build, names, "no paper, table or run of this plan") if names or not targets else []
    return list(dict.fromkeys([*runs, *build.with_guides(run for table in tables for run in build.runs_of(table))]))


@app.command(rich_help_panel=SHARE)
def publish(
    targets: Annotated[list[str] | None, typer.Argument(help="Papers, tables or runs; default: all chosen.")] = None,
    sets: Sets = [],  # noqa: B006
    remote: Remote = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read everything back from the remote and compare it.")] = False,
) -> None:
    """Send checkpoints and data to the DVC remote, and stage receipts, evaluations and pointers for git.

    Run it on one machine of a cluster only. It may be interrupted and repeated.
    """
    from sslpairs.clones import to_add
    from sslpairs.store import publish as publish_runs

    start_log(None)
    build = open_build(sets)
    runs = _chosen_runs(build, targets or [])
    with _progress("publishing", quiet=False, unit="object") as progress:
        done = publish_runs(build, runs, remote, deep, progress)
    for note in done.notes:
        out.print(f"note: {note}", soft_wrap=True, markup=False)
    for problem in done.problems:
        _say_error(problem)
    read = "read back and compared" if deep else "asked of the remote"
    out.print(
        f"{counted(len(done.runs), 'checkpoint is')} published: {counted(done.sent, 'object')} sent ({done.bytes / 1e6:,.1f} MB), "
        f"{done.held} there already; each was {read}.",
        soft_wrap=True,
    )
    if done.unfinished:
        out.print(f"{counted(done.unfinished, 'run is')} not trained yet and left out.")
    if done.staged:
        add = f"git add {to_add(done.uncommitted)} && " if done.uncommitted else ""
        out.print(
            f"{counted(done.staged, 'file is')} staged for git: look with `git status`, then `{add}git commit -m 'Publish results'`.",
            soft_wrap=True,
        )
    if done.problems:
        raise UserError(f"{counted(len(done.problems), 'object was')} not published, see above")


@app.command(rich_help_panel=SHARE)
def restore(
    targets: Annotated[list[str] | None, typer.Argument(help="Papers, tables or runs; default: all chosen.")] = None,
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    remote: Remote = None,
    log_file: LogFile = None,
) -> None:
    """Bring published checkpoints here. A build does it by itself for those that it needs."""
    from sslpairs.plan.build import run_folder
    from sslpairs.store import restore as restore_runs

    start_log(log_file)
    root, targets = find_root(), targets or []
    # A run that is here in name needs no plan: it may be one of another configuration.
    if targets and all((root / run_folder(target)).is_dir() for target in targets):
        runs = list(dict.fromkeys(targets))
    else:
        build = open_build(sets, frozen)
        damaged = {
            run for run in build.plan.runs if run not in build.receipts and build.receipt_file(run) in build.damage
        }
        known = build.receipts.keys() | damaged | set(targets)
        runs = [run for run in _chosen_runs(build, targets) if run in known]
    with _progress("restoring", quiet=log_file is not None, unit="checkpoint") as progress:
        done = restore_runs(root, runs, remote, progress)
    for problem in done.problems.values():
        _say_error(problem)
    out.print(
        f"{counted(len(done.fetched), 'checkpoint')} restored ({done.bytes / 1e6:,.1f} MB), {len(done.in_place)} "
        "in place."
    )
    if done.problems:
        raise UserError(f"{counted(len(done.problems), 'checkpoint')} could not be restored, see above")


@app.command(rich_help_panel=MAINTAIN)
def gc(
    sets: Sets = [],  # noqa: B006
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed and published.")] = False,
    unpublished: Annotated[
        bool, typer.Option("--unpublished", help="With --yes: also remove what only this machine has.")
    ] = False,
    remote: Remote = None,
) -> None:
    """List the checkpoints of runs that no table at any scale needs; remove them with --yes. Receipts stay."""
    from rich.table import Table

    from sslpairs import garbage
    from sslpairs.front import building

    root = find_root()
    runs, mistakes = garbage.current(root, overrides(sets))
    found = garbage.waste(root, runs)
    view = Table()
    for column in ("run", "MB", "", "why no table needs it"):
        view.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
    for one in found:
        view.add_row(one.run, f"{one.bytes / 1e6:.2f}", one.kind, escape(one.why))
    if found:
        out.print(view)
    for mistake in mistakes:
        out.print(f"note: {mistake}", soft_wrap=True, markup=False)
    left = garbage.leftovers(root)
    for path in left:
        out.print(f"leftover: {path.relative_to(root)}", soft_wrap=True, markup=False)
    if not (found or left or mistakes):
        out.print("Nothing to remove: every checkpoint here is of a run that a table needs.")
        return
    size = sum(one.bytes for one in found)
    only_here = sum(one.kind != "published" for one in found)
    out.print(
        f"{counted(len(found), 'run')}, {size / 1e6:,.1f} MB; {only_here} not published, so that no other copy is known; "
        f"{counted(len(left), 'leftover')} of interrupted work.",
        soft_wrap=True,
    )
    if not yes:
        out.print(
            "Nothing was removed: --yes removes what is published, --yes --unpublished all of it. Receipts stay.",
            soft_wrap=True,
        )
        return
    if mistakes:
        raise UserError("nothing was removed: mend the configuration first, see the notes above")
    if words := building(root):
        raise UserError(f"a build is at work here ({words[0]}); wait for it, then run `sslpairs gc` again")

    def open_remote():
        from sslpairs.store import Remote as DVCRemote

        return DVCRemote(root, remote)

    freed, kept = garbage.remove(root, found, unpublished, open_remote)
    for line in dict.fromkeys([*kept, *garbage.remove_leftovers(root, left)]):
        out.print(f"kept: {line}", soft_wrap=True, markup=False)
    out.print(f"{freed / 1e6:,.1f} MB freed.")


@app.command(rich_help_panel=LOOK)
def floors(
    targets: Targets = None,
    sets: Sets = [],  # noqa: B006
) -> None:
    """What raw pixels and untrained networks reach under the protocols of the tables: the numbers to beat."""
    from statistics import mean, stdev

    from rich.table import Table

    from sslpairs.evaluation import floors as floor

    build = open_build(sets)
    if build.to_prepare:
        raise UserError(f"data/{build.to_prepare[0]}: not prepared; run `sslpairs fetch {build.to_prepare[0]}`")
    plan, found = build.plan, {}
    for table in chosen_tables(build, targets or []):
        for cell in plan.tables[table]["cells"]:
            for replicate in cell["replicates"]:
                run = plan.runs[replicate["run"]]
                protocols = plan.evaluations[replicate["evaluation"]]["protocols"]
                place = (run["dataset"], run["backbone"], replicate["evaluation"].rpartition("/")[2])
                seeds = found.setdefault(place, {})
                if run["seed"] not in seeds:
                    seeds[run["seed"]] = floor.floors(
                        run, protocols, build.root, plan.settings["device"], plan.scale["threads"]
                    )
    view = Table(title=f"Without any training, scale {plan.scale['title']}, top-1 in %", title_justify="left")
    for column in ("floor", "data set", "linear", "kNN"):
        view.add_column(column, justify="left" if column in ("floor", "data set") else "right")
    shown = set()
    for (dataset, backbone, _), seeds in found.items():
        for name in ("pixels", "untrained"):
            title = "raw pixels" if name == "pixels" else f"untrained {backbone}"
            values = [[result[name][protocol] for result in seeds.values()] for protocol in ("linear", "knn")]
            row = (
                title,
                plan.datasets[dataset]["title"],
                *(f"{mean(v):.1f} ± {stdev(v):.1f}" if len(v) > 1 else f"{v[0]:.1f}" for v in values),
            )
            if row not in shown:
                shown.add(row)
                view.add_row(*row)
    out.print(view)


@app.command(rich_help_panel=LOOK)
def tables(
    targets: Targets = None,
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    stem: Annotated[Path | None, typer.Option("--stem", help="Write one table's files under this name.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Show whole tables instead of the summary.")] = False,
    log_file: LogFile = None,
) -> None:
    """Show the tables that are built; with --stem, write one."""
    from sslpairs.paper.tables import build_table, to_terminal, write_table
    from sslpairs.plan import written

    start_log(log_file)
    build = open_build(sets, frozen)
    names = chosen_tables(build, targets or [])
    if stem:
        if len(names) != 1:
            raise UserError("--stem: name exactly one table")
        source = written.made_from(build, "tables", names[0])
        write_table(build_table(build.plan.tables[names[0]], build.root), stem)
        written.seal(build, "tables", names[0], stem, source)
        _settle(build, build.evaluation_files(names[0]))
        return
    missing = [name for name in names if build.needs([name])[1]]
    done = [build_table(build.plan.tables[name], build.root) for name in names if name not in missing]
    if full:
        for table in done:
            out.print(to_terminal(table))
    elif done:
        from sslpairs.paper.summary import summary

        out.print(summary(done))
    for name in missing:
        out.print(f"{name}: not built yet: `snakemake {name}`")
    if done:
        scale = build.plan.scale["name"]
        out.print(f"\nTables:  results/tables/{scale}/   (.csv .claims.csv .md .tex .html)")
        out.print(f"Figures: results/figures/{scale}/  (.pdf .png .svg)")


@app.command(hidden=True)
def figure(
    name: Annotated[str, typer.Argument(help="Id of a figure.")],
    stem: Annotated[Path, typer.Option("--stem", help="Write the figure's files under this name.")],
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    log_file: LogFile = None,
) -> None:
    """Draw one figure."""
    from sslpairs.paper.figures import draw
    from sslpairs.plan import written

    start_log(log_file)
    build = open_build(sets, frozen)
    entry = _known(name, build.plan.figures, "figure")
    source = written.made_from(build, "figures", name)
    draw(entry, build.plan.tables[entry["table"]], build.root, stem)
    written.seal(build, "figures", name, stem, source)
    _settle(build, build.figure_inputs(name))


@app.command(hidden=True)
def provenance(
    page: Annotated[Path, typer.Argument(help="The HTML file to write.")],
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    log_file: LogFile = None,
) -> None:
    """Write the page that says from which code, data and machine every number came."""
    from sslpairs.files import write_atomic
    from sslpairs.paper.provenance import provenance_page

    start_log(log_file)
    build = open_build(sets, frozen)
    write_atomic(page, provenance_page([build.plan.tables[name] for name in build.plan.selected], build.root))
    _settle(build, build.provenance_inputs())


@app.command(hidden=True)
def schema(
    check: Annotated[bool, typer.Option("--check", help="Only say whether the files are up to date.")] = False,
) -> None:
    """Write what is made from the code: JSON schemas of the configuration (editors complete and check with them), and
    docs/combinations.md."""
    from sslpairs.config.schemas import stale_files, write_generated

    if check:
        if stale := stale_files(find_root()):
            raise UserError(f"{', '.join(stale)} out of date: run `sslpairs schema`")
        return
    write_generated(find_root())


@app.command(rich_help_panel=MAINTAIN)
def bench(
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="SimCLR and three more, one size, few rounds: a minute, on a slow machine with fewer rounds.",
        ),
    ] = False,
    methods: Annotated[
        str | None, typer.Option("--methods", help="Labels with commas between, for example simclr,byol+clae.")
    ] = None,
    size: Annotated[
        list[int] | None, typer.Option("--size", help="Edge of the images in pixels; again for more. Default: 16, 32.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", help="Images a step.")] = 256,
    repeats: Annotated[int | None, typer.Option("--repeats", help="Rounds. Default: 7; with --quick 5.")] = None,
    network: Annotated[str, typer.Option("--network", help="convnet (32-64-128) or resnet18 (3x3 stem).")] = "convnet",
    precision: Annotated[str, typer.Option("--precision", help="float32 or bfloat16.")] = "float32",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:1.")] = "auto",
    threads: Annotated[int | None, typer.Option("--threads", help="Of the CPU. Default: torch's own choice.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report to this file; - for standard output alone.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the report as a page.")] = None,
) -> None:
    """Measure trainings beside the bare step and beside lightly's stock pipeline, in rounds of one process.

    Speeds are ratios within a round. Nothing else should run on the machine meanwhile.
    """
    import json
    import re
    import time

    started = time.monotonic()
    from sslpairs.config.labels import parse_label
    from sslpairs.files import write_atomic

    start_log(None)
    for name, value, known in (
        ("network", network, ["convnet", "resnet18"]),
        ("precision", precision, ["float32", "bfloat16"]),
    ):
        if value not in known:
            raise UserError(f"--{name} {value}: write one of {', '.join(known)}{nearest(value, known)}")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise UserError(f"--device {device}: write auto, cpu, cuda or cuda:1")
    if threads is not None and threads < 1:
        raise UserError(f"--threads {threads}: must be 1 at least")
    named = [str(parse_label(label.strip())) for label in methods.split(",")] if methods else []

    import torch

    from sslpairs.bench import measure
    from sslpairs.bench.report import facts, to_markdown, to_terminal
    from sslpairs.bench.setting import ALL, QUICK, QUICK_SECONDS, Setting
    from sslpairs.training.device import pick_device, settle

    settle(threads or torch.get_num_threads())
    settings = [
        Setting(
            size=edge,
            batch=batch,
            repeats=(5 if quick else 7) if repeats is None else repeats,
            device=str(pick_device(device)),
            network=network,
            precision=precision,
        )
        for edge in size or ([16] if quick else [16, 32])
    ]
    labels = named or (QUICK if quick else ALL)
    # Who asks for a number of rounds gets it.
    until = started + QUICK_SECONDS if quick and repeats is None else None
    with _progress("measuring", quiet=False, unit="round") as progress:
        say = (lambda line: None) if progress.bar else log.info
        report = measure.bench(settings, labels, labels[:1] if quick else labels, say, until, progress)
    if json_file == Path("-"):
        print(json.dumps(report, indent=1))
    else:
        for table in to_terminal(report):
            out.print(table)
        for line in facts(report):
            out.print(line, soft_wrap=True, markup=False)
        if json_file:
            write_atomic(json_file, (json.dumps(report, indent=1) + "\n").encode())
    if markdown:
        write_atomic(markdown, to_markdown(report).encode())


def _settle(build, inputs: list[str]) -> None:
    """After a job: no input may be dated later than its outputs, or Snakemake takes the outputs for outdated and removes
    them. A clock that was set back meanwhile would do that."""
    date_now(dated_ahead((build.root / file for file in inputs), by=0))


def _known(name: str, known: dict[str, Any], what: str) -> Any:
    if name not in known:
        raise UserError(f"'{name}' is no {what} of this plan{nearest(name, list(known))}")
    return known[name]


class _progress:
    """A bar in a terminal; plain lines about every ten seconds, and at the end, elsewhere. Nothing where nothing is done."""

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
            if self.unit == "epoch":  # the first one may take long
                self.bar.start()
        return self

    def __call__(self, done: int, total: int, facts: str) -> None:
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


if __name__ == "__main__":
    main()
