"""Runs that no current table needs: their size, whether they can be restored, and their removal."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslpairs.config.reading import read_config
from sslpairs.data.record import contents
from sslpairs.errors import UserError
from sslpairs.files import read_record
from sslpairs.locks import exclusive
from sslpairs.plan.build import is_whole
from sslpairs.plan.paths import RUNS, run_folder
from sslpairs.plan.planner import make_plan
from sslpairs.plan.pointers import pointer_of, read_pointer
from sslpairs.plan.records import PlannedRun, Receipt

LARGE = ("checkpoint.pt", "last.ckpt")
"""Files that are removed from a run; its receipt, metrics, pointer and evaluations are small and stay."""
ABANDONED = 600.0
"""Seconds without a write after which a temporary file counts as left by a killed process."""


@dataclass
class UnusedRun:
    """A run that no current table needs, with large files here."""

    run: str
    bytes: int
    why: str
    receipt: Receipt | None
    pointer: bool
    """Whether these weights were published. Only the remote knows whether it still holds them."""

    @property
    def kind(self) -> str:
        """State of the run, as shown to the user."""
        if self.receipt is None:
            return "unfinished"
        return "published" if self.pointer else "not published"


def current_runs(root: Path, overrides: dict[str, Any]) -> tuple[dict[str, PlannedRun], list[str]]:
    """All runs of all tables at all scales, with the chosen seeds; and the errors of scales that could not be planned.

    A run of another scale is not garbage just because ``config.yaml`` names this one.
    """
    runs: dict[str, PlannedRun] = {}
    mistakes = []
    for file in sorted((root / "config" / "scales").glob("*.yaml")):
        try:
            config = read_config(root, overrides | {"scale": file.stem, "papers": "every", "tables": "every"})
            runs |= make_plan(config, contents(root, config.datasets), strict=True).runs
        except UserError as error:
            mistakes.append(f"scale {file.stem} cannot be planned, so its runs would count as garbage: {error}")
    return runs, mistakes


def unused_runs(root: Path, runs: dict[str, PlannedRun]) -> list[UnusedRun]:
    """Runs below ``results/runs`` that are not among ``runs`` and have large files."""
    unused = []
    for folder in sorted((root / RUNS).glob("*")):
        sizes = [(folder / name).stat().st_size for name in LARGE if (folder / name).exists()]
        if folder.name in runs or not sizes:
            continue
        receipt, pointer = None, False
        with contextlib.suppress(UserError):
            receipt = read_record(folder / "run.json", root)
            pointer = receipt is not None and read_pointer(folder.name, root) == pointer_of(receipt)
        why = _why(receipt, runs) if receipt else "no intact receipt here"
        unused.append(UnusedRun(folder.name, sum(sizes), why, receipt, pointer))
    return unused


def leftovers(root: Path) -> list[Path]:
    """Leftovers of killed processes: half-written files, and resumable states of complete runs."""
    results, old = root / "results", []
    for path in results.rglob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                old.append(path)
    return old + [path for path in results.glob("runs/*/last.ckpt") if _ended(path.parent.name, root)]


def _ended(run: str, root: Path) -> bool:
    try:
        return is_whole(run, root)
    except UserError:
        return False


def remove_leftovers(root: Path, paths: list[Path]) -> list[str]:
    """Remove leftovers, except those of runs that another process holds; returns what was kept and why."""
    kept = []
    for path in paths:
        run, lock = path.parent.name, contextlib.nullcontext()
        if path.parent.parent == root / RUNS:
            lock = exclusive(
                path.parent / ".lock", f"{run}: another process is training or restoring it", patient=False
            )
        try:
            with lock:
                if path.name != "last.ckpt" or _ended(run, root):
                    path.unlink(missing_ok=True)
        except UserError as error:
            kept.append(str(error))
    return kept


def _why(receipt: Receipt, runs: dict[str, PlannedRun]) -> str:
    """How the run differs from the most similar current one."""
    same = [run for run in runs.values() if (run["label"], run["dataset"]) == (receipt["label"], receipt["dataset"])]
    if not same:
        return f"no current table has {receipt['label']} on {receipt['dataset']}"
    differences = min((list(_differences(receipt["spec"], run["spec"])) for run in same), key=len)
    shown = ", ".join(f"{key} {_short(old)}, now {_short(new)}" for key, old, new in differences[:2])
    return shown + (f" and {len(differences) - 2} more" if len(differences) > 2 else "")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"


def _differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}".lstrip("."))
    elif old != new:
        yield key, old, new


def remove(root: Path, unused: list[UnusedRun], unpublished: bool, remote: Callable[[], Any]) -> tuple[int, list[str]]:
    """Remove the large files of runs that the remote holds, and DVC's copies of them on this machine; with ``unpublished`` also those
    of runs that only this machine has. Returns the bytes freed, and what was kept and why.

    ``remote`` opens the remote. Every object is read back from it and compared before the last local copy is removed.
    """
    freed, kept = 0, []
    held, sizes = None, {}
    published = [item for item in unused if item.pointer and item.receipt]
    if published:
        try:
            held = remote()
            held.find_folder()
            sizes = held.sizes(pointer_of(item.receipt).md5 for item in published)
        except UserError as error:
            kept.append(f"the remote cannot be reached, so published runs count as unpublished ({error})")
    for item in unused:
        folder = root / run_folder(item.run)
        try:
            with exclusive(folder / ".lock", f"{item.run}: another process is training or restoring it", patient=False):
                pointer = pointer_of(item.receipt) if item in published else None
                whole = pointer and sizes.get(pointer.md5) == pointer.size and held.md5(pointer.md5) == pointer.md5
                if not whole and not unpublished:
                    what = "the remote does not hold a complete copy" if pointer and sizes else item.kind
                    raise UserError(f"{item.run}: {what}: --unpublished removes it for good")
                gone = [folder / name for name in LARGE]
                gone += [held.cached(pointer.md5)] if whole else []
                for path in gone:
                    with contextlib.suppress(FileNotFoundError):
                        size = path.stat().st_size
                        path.unlink()
                        freed += size
        except UserError as error:
            kept.append(str(error))
    return freed, kept
