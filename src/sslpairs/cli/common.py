"""Shared by all commands: options, the project and its plan, and logging."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sslpairs.errors import UserError, nearest
from sslpairs.files import date_now, dated_ahead
from sslpairs.own import check_own_code

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
    typer.Option(
        "--set", "-s", metavar="KEY=VALUE", help="Override a setting of config/config.yaml, for example seeds=5."
    ),
]
Targets = Annotated[list[str] | None, typer.Argument(help="Papers or tables; default: those selected in config.yaml.")]
PlanFile = Annotated[
    Path | None,
    typer.Option("--plan", envvar="SSLPAIRS_PLAN", help="A frozen plan; the workflow passes it to its jobs."),
]
Device = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:1; default: as in the plan or config.yaml.")
]
Remote = Annotated[
    str | None, typer.Option("--remote", "-r", help="A remote in .dvc/config; default: DVC's default remote.")
]
LogFile = Annotated[Path | None, typer.Option("--log", help="Also write all messages to this file.")]


def find_root() -> Path:
    """Return the nearest folder with config/config.yaml, from here upwards. Raise ``UserError`` if its code is not the running code."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "config" / "config.yaml").exists():
            check_own_code(folder)
            return folder
    raise UserError(f"{here}: no config/config.yaml here or in a parent folder; change to the project's folder")


def overrides(words: list[str]) -> dict[str, Any]:
    """Convert ``["seeds=5"]`` to a mapping; keys are checked when the configuration is read."""
    choices = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise UserError(f"command line: --set {word}: write KEY=VALUE, for example --set seeds=5")
        choices[key] = value
    return choices


def open_build(sets: list[str], frozen: Path | None = None):
    """Return the build described by the configuration, the command line or a frozen plan."""
    from sslpairs.plan.build import Build
    from sslpairs.plan.frozen import thaw
    from sslpairs.workflow.builds import make_build

    root = find_root()
    return Build(thaw(frozen), root) if frozen else make_build(root, overrides(sets))


def chosen_tables(build, targets: list[str], what: str = "neither a paper nor a table") -> list[str]:
    """Return the table ids for names of papers and tables; without names, all selected tables."""
    from sslpairs.workflow.builds import unknown_target

    if not targets:
        return build.plan.selected
    for target in targets:
        if problem := unknown_target(build, target, what):
            raise UserError(problem)
    known = build.targets()
    return list(dict.fromkeys(table for target in targets for table in known[target]))


def chosen_runs(build, targets: list[str]) -> list[str]:
    """Return runs, and the runs (with guides) of tables and papers; without targets, those of all selected tables."""
    names = [target for target in targets if target not in build.plan.runs]
    runs = [target for target in targets if target in build.plan.runs]
    tables = chosen_tables(build, names, "not a paper, table or run of this plan") if names or not targets else []
    return list(dict.fromkeys([*runs, *build.with_guides(run for table in tables for run in build.runs_of(table))]))


def start_log(path: Path | None) -> None:
    """Log to the terminal; with a file, log to the file and only warnings to the terminal."""
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


def settle_dates(build, inputs: list[str]) -> None:
    """Called after a job: no input may be newer than the outputs, or Snakemake considers the outputs outdated and removes
    them. This happens if the clock was set back in the meantime."""
    date_now(dated_ahead((build.root / file for file in inputs), by=0))


def known(name: str, entries: dict[str, Any], what: str) -> Any:
    """Return the entry of a plan with this name. Raise ``UserError`` if there is none."""
    if name not in entries:
        raise UserError(f"'{name}' is not a {what} of this plan{nearest(name, list(entries))}")
    return entries[name]


def say_error(text: str) -> None:
    """Print an error as one line to the terminal, and write it to the log."""
    for handler in logging.getLogger("sslpairs").handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(logging.LogRecord("sslpairs", logging.ERROR, "", 0, f"error: {text}", None, None))
    print(f"error: {text}", file=sys.stderr)
