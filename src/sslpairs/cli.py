"""The command ``sslpairs``. Imports torch only where something is trained, evaluated or drawn."""

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from sslpairs.errors import UserError, nearest

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Regenerate the tables and figures of five papers on pairs in self-supervised learning.",
)
log = logging.getLogger(__name__)
out = Console(highlight=False)

Sets = Annotated[
    list[str],
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="A choice of config/config.yaml, for example seeds=5."),
]
Targets = Annotated[list[str] | None, typer.Argument(help="Papers or tables; default: what config.yaml chooses.")]
PlanFile = Annotated[
    Path | None,
    typer.Option("--plan", envvar="SSLPAIRS_PLAN", help="A frozen plan; the workflow gives it to its jobs."),
]
LogFile = Annotated[Path | None, typer.Option("--log", help="Write everything that is said to this file as well.")]


def main(arguments: list[str] | None = None) -> None:
    """Entry point: errors that a user can mend are one or two lines and exit code 2."""
    try:
        app(arguments, standalone_mode=True)
    except UserError as error:
        _say_error(str(error))
        sys.exit(2)
    except Exception:
        # Ours to mend, not the user's: keep the traceback, in the log too.
        for handler in logging.getLogger("sslpairs").handlers:
            handler.handle(logging.makeLogRecord({"name": "sslpairs", "levelno": 40, "msg": traceback.format_exc()}))
        raise


def _say_error(text: str) -> None:
    for handler in logging.getLogger("sslpairs").handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(logging.makeLogRecord({"name": "sslpairs", "levelno": 40, "msg": f"error: {text}"}))
    print(f"error: {text}", file=sys.stderr)


# --- the project and its plan ------------------------------------------------------------------------------------


def find_root() -> Path:
    """The nearest folder, from here upwards, with config/config.yaml."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "config" / "config.yaml").exists():
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


def chosen_tables(build, targets: list[str]) -> list[str]:
    """Table ids for names of papers and tables; all selected ones when there are none."""
    if not targets:
        return build.plan.selected
    known = build.targets()
    for target in targets:
        if target not in known:
            raise UserError(
                f"'{target}' is neither a paper nor a table{nearest(target, list(known))} ({', '.join(known)})"
            )
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
        file = logging.FileHandler(path, mode="a")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(file)


def duration(seconds: float) -> str:
    """For people, for example '2 h 05 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


# --- looking ------------------------------------------------------------------------------------------------------


@app.command()
def plan(
    targets: Targets = None,
    sets: Sets = [],  # noqa: B006
    runs: Annotated[bool, typer.Option("--runs", help="List every run.")] = False,
) -> None:
    """List the runs, what is done, and what a build would do and cost."""
    from rich.table import Table

    build = open_build(sets)
    tables = chosen_tables(build, targets or [])
    view = Table(title=f"Scale {build.plan.scale['title']}, seeds {build.plan.settings['seeds']}", title_justify="left")
    for column in ("table", "runs", "to train", "to evaluate", "estimate"):
        view.add_column(column, justify="left" if column == "table" else "right")
    for table in tables:
        to_train, to_evaluate = build.needs([table])
        view.add_row(
            table, str(len(build.runs_of(table))), str(len(to_train)), str(len(to_evaluate)), _cost(build, to_train)
        )
    to_train, to_evaluate = build.needs(tables)
    every = {run for table in tables for run in build.runs_of(table)}
    view.add_section()
    view.add_row("together", str(len(every)), str(len(to_train)), str(len(to_evaluate)), _cost(build, to_train))
    out.print(view)
    shared = sum(len(build.runs_of(table)) for table in tables) - len(every)
    if shared:
        out.print(f"{shared} runs stand in more than one table; each is trained once.")
    if runs:
        for run in dict.fromkeys([*to_train, *sorted(every)]):
            state = build.to_train.get(run) if run in to_train else "done" if run in build.receipts else "guide"
            out.print(f"{run}  {state}", soft_wrap=True)


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


@app.command()
def status(
    targets: Targets = None,
    sets: Sets = [],  # noqa: B006
) -> None:
    """Show the progress of each table."""
    from rich.table import Table

    build = open_build(sets)
    view = Table(title=f"Scale {build.plan.scale['title']}", title_justify="left")
    for column in ("table", "trained", "evaluated", "written", ""):
        view.add_column(column, justify="left" if column in ("table", "") else "right")
    for table in chosen_tables(build, targets or []):
        runs = build.runs_of(table)
        evaluations = {r["evaluation"] for cell in build.plan.tables[table]["cells"] for r in cell["replicates"]}
        trained = sum(run in build.receipts for run in runs)
        evaluated = len(evaluations & build.evaluated)
        keyed = build.root / f"results/tables/keyed/{table}.{build.plan.tables[table]['key']}.csv"
        filled = round(20 * evaluated / len(evaluations))
        view.add_row(
            table,
            f"{trained}/{len(runs)}",
            f"{evaluated}/{len(evaluations)}",
            "yes" if keyed.exists() else "no",
            "█" * filled + "·" * (20 - filled),
        )
    out.print(view)
    for run in build.to_train:
        lines = build.root / "logs" / "runs" / f"{run}.log"
        if run not in build.receipts and lines.exists() and (text := lines.read_text().strip()):
            last = text.splitlines()[-1]
            if " ERROR " in last or last.startswith("Likely causes"):
                reason = text.split(" ERROR ")[-1]
                out.print(f"failed: {run}: {reason} (logs/runs/{run}.log)", soft_wrap=True, markup=False)


@app.command()
def doctor(sets: Sets = []) -> None:  # noqa: B006
    """Check the machine, the libraries, the configuration and the data."""
    import platform
    import shutil
    from importlib.metadata import version

    problems = 0

    def say(good: bool, text: str) -> None:
        nonlocal problems
        problems += not good
        out.print(("[green]ok  [/]" if good else "[red]BAD [/]") + " " + escape(text), soft_wrap=True)

    say(sys.version_info >= (3, 11), f"Python {platform.python_version()} (needs 3.11 or newer)")
    for name, wanted in (
        ("torch", "2.11"),
        ("torchvision", "0.26"),
        ("lightly", "1.6"),
        ("snakemake", "9.27"),
        ("dvc", "3.67"),
    ):
        try:
            found = version(name)
            say(found.startswith(wanted), f"{name} {found} (made for {wanted})")
        except Exception:
            say(False, f"{name} is missing: run `make setup`")
    for program, need in (("git", "receipts name the commit"), ("make", "the two commands")):
        say(shutil.which(program) is not None, f"{program} ({need})")
    free = shutil.disk_usage(".").free / 1e9
    say(free > 2, f"{free:,.0f} GB free here (a digits build takes 0.1)")
    try:
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        say(
            True,
            f"{os.cpu_count()} cores; GPUs: {', '.join(torch.cuda.get_device_name(i) for i in range(count)) or 'none'}",
        )
    except Exception as error:
        say(False, f"torch does not import ({error}): run `make setup` anew")
    try:
        build = open_build(sets)
        say(
            True,
            f"configuration: {len(build.plan.selected)} tables, {len(build.plan.runs)} runs at scale {build.plan.scale['name']}",
        )
        from sslpairs.data.prepare import verify

        for name in build.plan.datasets:
            if name in build.to_prepare:
                say(True, f"data set {name}: not here yet; a build prepares it")
            else:
                verify(name, build.root)
                say(True, f"data set {name}: whole")
    except UserError as error:
        say(False, str(error))
    if problems:
        raise UserError(f"{problems} problem{'s' if problems > 1 else ''}, see above")


# --- doing --------------------------------------------------------------------------------------------------------


@app.command()
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


@app.command()
def train(
    run: Annotated[str, typer.Argument(help="Id of a run, as `sslpairs plan --runs` lists them.")],
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    log_file: LogFile = None,
    force: Annotated[bool, typer.Option("--force", help="Train again although there is a receipt.")] = False,
) -> None:
    """Train one run: checkpoint, metrics, receipt."""
    start_log(log_file)
    build = open_build(sets, frozen)
    entry = _known(run, build.plan.runs, "run")
    if run in build.receipts and not force:
        print(f"{run}: already trained (--force trains it again)")
        return
    from sslpairs.training.train import train as train_run

    threads = build.plan.scale["threads"]
    with _progress(run, quiet=log_file is not None) as progress:
        receipt = train_run(run, entry, build.root, build.plan.settings["device"], threads, progress)
    print(
        f"trained {run}: {receipt['spec']['epochs']} epochs in {duration(receipt['timing']['seconds'])}, "
        f"loss {receipt['loss']:.4f}, online {receipt['online']['last']:.1f} %"
    )


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="Id of a finished run.")],
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    key: Annotated[str | None, typer.Option("--key", help="Key of the evaluation; default: the plan's.")] = None,
    log_file: LogFile = None,
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
            build.plan.settings["device"],
            build.plan.scale["threads"],
        )
        numbers = ", ".join(f"{name} {value['last']:.1f} %" for name, value in result["protocols"].items())
        log.info("%s: %s", run, numbers)
        if log_file is None:
            print(f"evaluated {run}: {numbers}")


@app.command()
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


@app.command()
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

    start_log(log_file)
    build = open_build(sets, frozen)
    names = chosen_tables(build, targets or [])
    if stem:
        if len(names) != 1:
            raise UserError("--stem: name exactly one table")
        write_table(build_table(build.plan.tables[names[0]], build.root), stem)
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


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="Id of a figure.")],
    stem: Annotated[Path, typer.Option("--stem", help="Write the figure's files under this name.")],
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    log_file: LogFile = None,
) -> None:
    """Draw one figure."""
    from sslpairs.paper.figures import draw

    start_log(log_file)
    build = open_build(sets, frozen)
    entry = _known(name, build.plan.figures, "figure")
    draw(entry, build.plan.tables[entry["table"]], build.root, stem)


@app.command()
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


@app.command()
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


def _known(name: str, known: dict[str, Any], what: str) -> Any:
    if name not in known:
        raise UserError(f"'{name}' is no {what} of this plan{nearest(name, list(known))}")
    return known[name]


class _progress:
    """A bar in a terminal; plain lines about every ten seconds, and at the end, elsewhere."""

    def __init__(self, run: str, quiet: bool):
        self.run, self.quiet, self.bar, self.said = run, quiet, None, 0.0

    def __enter__(self):
        if not self.quiet and sys.stderr.isatty():
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
            self.bar.start()
        return self

    def __call__(self, done: int, total: int, facts: str) -> None:
        import time

        if self.bar:
            self.bar.update(self.task, completed=done, total=total, facts=facts)
        elif done in (1, total) or time.monotonic() - self.said >= 10:
            self.said = time.monotonic()
            log.info("epoch %d/%d: %s", done, total, facts)

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()


if __name__ == "__main__":
    main()
