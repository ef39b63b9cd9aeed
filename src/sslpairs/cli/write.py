"""Commands for the workflow's jobs and for developers: ``figure``, ``provenance``, ``schema``."""

from pathlib import Path
from typing import Annotated

import typer

from sslpairs.cli.common import LogFile, PlanFile, Sets, app, find_root, known, open_build, settle_dates, start_log
from sslpairs.errors import UserError


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
    entry = known(name, build.plan.figures, "figure")
    source = written.made_from(build, "figures", name)
    draw(entry, build.plan.tables[entry["table"]], build.root, stem, build.source)
    written.seal(build, "figures", name, stem, source)
    settle_dates(build, build.figure_inputs(name))


@app.command(hidden=True)
def provenance(
    page: Annotated[Path, typer.Argument(help="The HTML file to write.")],
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    log_file: LogFile = None,
) -> None:
    """Write the page that shows from which code, data and machine every number comes."""
    from sslpairs.files import write_atomic
    from sslpairs.paper.provenance import provenance_page

    start_log(log_file)
    build = open_build(sets, frozen)
    tables = [build.plan.tables[name] for name in build.plan.selected]
    write_atomic(page, provenance_page(tables, build.root, build.source))
    settle_dates(build, build.provenance_inputs())


@app.command(hidden=True)
def schema(
    check: Annotated[bool, typer.Option("--check", help="Only check whether the files are up to date.")] = False,
) -> None:
    """Write the files generated from the code: JSON schemas of the configuration (for completion and checks in editors), and
    docs/combinations.md."""
    from sslpairs.config.schemas import stale_files, write_generated

    if check:
        if stale := stale_files(find_root()):
            raise UserError(f"{', '.join(stale)} out of date: run `sslpairs schema`")
        return
    write_generated(find_root())
