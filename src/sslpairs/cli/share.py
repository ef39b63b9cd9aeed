"""Commands for sharing and cleaning up: ``publish``, ``restore``, ``gc``."""

from typing import Annotated

import typer
from rich.markup import escape

from sslpairs.cli.common import (
    MAINTAIN,
    SHARE,
    LogFile,
    PlanFile,
    Remote,
    Sets,
    app,
    chosen_runs,
    find_root,
    open_build,
    overrides,
    say_error,
    start_log,
)
from sslpairs.cli.progress import Progress
from sslpairs.errors import UserError
from sslpairs.terminal.screen import out
from sslpairs.words import counted


@app.command(rich_help_panel=SHARE)
def publish(
    targets: Annotated[list[str] | None, typer.Argument(help="Papers, tables or runs; default: all selected.")] = None,
    sets: Sets = [],  # noqa: B006
    remote: Remote = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read everything back from the remote and compare it.")] = False,
) -> None:
    """Send checkpoints and data to the DVC remote, and stage receipts, evaluations and pointers for git.

    Run it on only one machine of a cluster. It can be interrupted and repeated.
    """
    from sslpairs.clones import to_add
    from sslpairs.store.publish import publish as publish_runs

    start_log(None)
    build = open_build(sets)
    runs = chosen_runs(build, targets or [])
    with Progress("publishing", quiet=False, unit="object") as progress:
        done = publish_runs(build, runs, remote, deep, progress)
    for note in done.notes:
        out.say(f"note: {note}")
    for problem in done.problems:
        say_error(problem)
    read = "read back and compared" if deep else "checked on the remote"
    out.say(
        f"{counted(len(done.runs), 'checkpoint is')} published: {counted(done.sent, 'object')} sent ({done.bytes / 1e6:,.1f} MB), "
        f"{done.held} already there; each was {read}."
    )
    if done.unfinished:
        out.print(f"{counted(done.unfinished, 'run is')} not trained yet and skipped.")
    if done.staged:
        add = f"git add {to_add(done.uncommitted)} && " if done.uncommitted else ""
        out.say(
            f"{counted(done.staged, 'file is')} staged for git: check with `git status`, then `{add}git commit -m 'Publish results'`."
        )
    if done.problems:
        raise UserError(f"{counted(len(done.problems), 'object was')} not published, see above")


@app.command(rich_help_panel=SHARE)
def restore(
    targets: Annotated[list[str] | None, typer.Argument(help="Papers, tables or runs; default: all selected.")] = None,
    sets: Sets = [],  # noqa: B006
    frozen: PlanFile = None,
    remote: Remote = None,
    log_file: LogFile = None,
) -> None:
    """Download published checkpoints. A build does this automatically for those that it needs."""
    from sslpairs.plan.paths import receipt_file, run_folder
    from sslpairs.store.restore import restore as restore_runs

    start_log(log_file)
    root, targets = find_root(), targets or []
    # Runs with a folder need no plan: they may belong to another configuration.
    if targets and all((root / run_folder(target)).is_dir() for target in targets):
        runs = list(dict.fromkeys(targets))
    else:
        build = open_build(sets, frozen)
        trained = {run for run in build.plan.runs if run in build.receipts or str(receipt_file(run)) in build.damage}
        runs = [run for run in chosen_runs(build, targets) if run in trained or run in targets]
    with Progress("restoring", quiet=log_file is not None, unit="checkpoint") as progress:
        done = restore_runs(root, runs, remote, progress)
    for problem in done.problems.values():
        say_error(problem)
    out.print(
        f"{counted(len(done.fetched), 'checkpoint')} restored ({done.bytes / 1e6:,.1f} MB), {len(done.in_place)} "
        "in place."
    )
    if done.problems:
        raise UserError(f"{counted(len(done.problems), 'checkpoint')} could not be restored, see above")


@app.command(rich_help_panel=MAINTAIN)
def gc(
    sets: Sets = [],  # noqa: B006
    yes: Annotated[bool, typer.Option("--yes", help="Remove the listed checkpoints that are published.")] = False,
    unpublished: Annotated[
        bool, typer.Option("--unpublished", help="With --yes: also remove checkpoints that exist only on this machine.")
    ] = False,
    remote: Remote = None,
) -> None:
    """List the checkpoints of runs that no table at any scale needs; remove them with --yes. Receipts are kept."""
    from rich.table import Table

    from sslpairs import prune
    from sslpairs.workflow.announce import building

    root = find_root()
    runs, mistakes = prune.current_runs(root, overrides(sets))
    unused = prune.unused_runs(root, runs)
    view = Table()
    for column in ("run", "MB", "", "why no table needs it"):
        view.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
    for item in unused:
        view.add_row(item.run, f"{item.bytes / 1e6:.2f}", item.kind, escape(item.why))
    if unused:
        out.print(view)
    for mistake in mistakes:
        out.say(f"note: {mistake}")
    left = prune.leftovers(root)
    for path in left:
        out.say(f"leftover: {path.relative_to(root)}")
    if not (unused or left or mistakes):
        out.print("Nothing to remove: every checkpoint belongs to a run that a table needs.")
        return
    size = sum(item.bytes for item in unused)
    only_here = sum(item.kind != "published" for item in unused)
    out.say(
        f"{counted(len(unused), 'run')}, {size / 1e6:,.1f} MB; {only_here} not published (no other copy known); "
        f"{counted(len(left), 'leftover')} of interrupted work."
    )
    if not yes:
        out.say(
            "Nothing was removed: --yes removes published checkpoints, --yes --unpublished all of them. Receipts are kept."
        )
        return
    if mistakes:
        raise UserError("nothing was removed: fix the configuration first, see the notes above")
    if words := building(root):
        raise UserError(f"a build is running here ({words[0]}); wait for it, then run `sslpairs gc` again")

    from sslpairs.store.remote import Remote as DVCRemote

    freed, kept = prune.remove(root, unused, unpublished, lambda: DVCRemote(root, remote))
    for line in dict.fromkeys([*kept, *prune.remove_leftovers(root, left)]):
        out.say(f"kept: {line}")
    out.print(f"{freed / 1e6:,.1f} MB freed.")
