"""Commands that show the state of a project: ``status``, ``explain``, ``doctor``, ``tables``."""

from pathlib import Path
from typing import Annotated

import typer

from sslpairs.cli.common import (
    LOOK,
    LogFile,
    PlanFile,
    Sets,
    Targets,
    app,
    chosen_tables,
    open_build,
    overrides,
    settle_dates,
    start_log,
)
from sslpairs.errors import UserError
from sslpairs.terminal.screen import out
from sslpairs.words import counted


@app.command(rich_help_panel=LOOK)
def status(
    targets: Targets = None,
    sets: Sets = [],  # noqa: B006
    watch: Annotated[
        bool, typer.Option("--watch", help="Update every two seconds until all is done, or Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show the progress of each table: runs done, in training (with the time left), missing and failed, with error messages.

    Columns are hidden if all zero: training, restorable (the checkpoint is published but not on this machine), missing, failed.
    """
    import json

    from sslpairs.plan.build import Build
    from sslpairs.terminal import status as state

    if watch and as_json:
        raise UserError("--watch and --json exclude each other: choose one of them")
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
        typer.Option("--if", metavar="KEY=VALUE", help="Show what this change would retrain; may be repeated."),
    ] = [],  # noqa: B006
    sets: Sets = [],  # noqa: B006
    full: Annotated[bool, typer.Option("--full", help="Show the recipe in full.")] = False,
) -> None:
    """Show where a number comes from, and what a change of the configuration would retrain."""
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


@app.command(rich_help_panel=LOOK)
def tables(
    targets: Targets = None,
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    stem: Annotated[Path | None, typer.Option("--stem", help="Write one table's files under this name.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Show whole tables instead of the summary.")] = False,
    log_file: LogFile = None,
) -> None:
    """Show the finished tables; with --stem, write one."""
    from sslpairs.paper.formats.files import write_table
    from sslpairs.paper.formats.terminal import to_terminal
    from sslpairs.paper.overview import write_results_and_overview
    from sslpairs.paper.tables import build_table
    from sslpairs.plan import written
    from sslpairs.plan.paths import CLAIMS, RESULTS

    start_log(log_file)
    build = open_build(sets, frozen)
    names = chosen_tables(build, targets or [])
    if stem:
        if len(names) != 1:
            raise UserError("--stem: name exactly one table")
        source = written.made_from(build, "tables", names[0])
        write_table(build_table(build.plan.tables[names[0]], build.root, build.source), stem)
        written.seal(build, "tables", names[0], stem, source)
        settle_dates(build, build.evaluation_files(names[0]))
        return
    overview = write_results_and_overview(build)
    missing = [name for name in names if build.needs([name])[1]]
    built = {table.plan["id"]: table for table in overview.tables}
    done = [
        built.get(name) or build_table(build.plan.tables[name], build.root, build.source)
        for name in names
        if name not in missing
    ]
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
        if overview.text():
            out.print(f"\n{overview.text()} (each under its paper's metric)")
        out.print(f"\nTables:  results/tables/{scale}/   (.csv .claims.csv .md .tex .html)")
        out.print(f"Figures: results/figures/{scale}/  (.pdf .png .svg)")
        out.print(f"Claims:  {CLAIMS}, results/figures/{scale}/claims.pdf")
        out.print(f"Numbers: {RESULTS}   (a row a run x protocol x metric x seed)")
