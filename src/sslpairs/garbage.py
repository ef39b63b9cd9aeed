"""Runs that no current table needs: what they take, whether they can be had again, and their removal."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslpairs.config.reading import read_config
from sslpairs.data.record import recorded
from sslpairs.errors import UserError
from sslpairs.files import read_record
from sslpairs.plan.build import pointer_file, run_folder
from sslpairs.plan.planner import make_plan

LARGE = ("checkpoint.pt", "last.ckpt")
"""What is removed of a run; its receipt, metrics, pointer and evaluations are small and stay."""


@dataclass
class Waste:
    """A run that no current table needs, and that has something large here."""

    run: str
    bytes: int
    why: str
    receipt: dict[str, Any] | None
    pointer: bool
    """Whether it was published; whether the remote still holds it, only the remote knows."""

    @property
    def kind(self) -> str:
        """For people."""
        if self.receipt is None:
            return "unfinished"
        return "published" if self.pointer else "not published"


def current(root: Path, overrides: dict[str, Any]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Every run of every table at every scale, with the chosen seeds; and what could not be planned.

    A run of another scale is not garbage only because ``config.yaml`` names this one.
    """
    runs: dict[str, dict[str, Any]] = {}
    notes = []
    contents = recorded(root)
    for file in sorted((root / "config" / "scales").glob("*.yaml")):
        try:
            config = read_config(root, overrides | {"scale": file.stem, "papers": "all", "tables": "all"})
            runs |= make_plan(config, contents).runs
        except UserError as error:
            notes.append(
                f"scale {file.stem} cannot be planned, so that its runs, if there are any, are listed here: {error}"
            )
    return runs, notes


def waste(root: Path, runs: dict[str, dict[str, Any]]) -> list[Waste]:
    """Runs below ``results/runs`` that are not among ``runs`` and hold something large."""
    found = []
    for folder in sorted((root / "results" / "runs").glob("*")):
        sizes = [(folder / name).stat().st_size for name in LARGE if (folder / name).exists()]
        if folder.name in runs or not sizes:
            continue
        try:
            receipt = read_record(folder / "run.json", root)
        except UserError:
            receipt = None
        why = _why(receipt, runs) if receipt else "no whole receipt here"
        found.append(Waste(folder.name, sum(sizes), why, receipt, (root / pointer_file(folder.name)).exists()))
    return found


def leftovers(root: Path) -> list[Path]:
    """What killed processes left: half-written files, and resumable states of runs that are done."""
    results = root / "results"
    found = [path for path in results.rglob(".*.tmp") if path.is_file()]
    return found + [path for path in results.glob("runs/*/last.ckpt") if (path.parent / "run.json").exists()]


def _why(receipt: dict[str, Any], runs: dict[str, dict[str, Any]]) -> str:
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


def remove(root: Path, found: list[Waste], unpublished: bool, remote: Callable[[], Any]) -> tuple[int, list[str]]:
    """Remove what is large of runs that the remote holds, and DVC's copies of it on this machine; with ``unpublished`` also of
    those that only this machine has. Answers the freed bytes and what was kept, with the reason.

    ``remote`` opens the remote; it is asked for every object before anything goes.
    """
    freed, kept = 0, []
    published = [one for one in found if one.pointer and one.receipt]
    sizes: dict[str, int | None] = {}
    held = None
    if published:
        try:
            held = remote()
            sizes = held.sizes(one.receipt["checkpoint"]["md5"] for one in published)
        except UserError as error:
            kept.append(f"the remote cannot be asked, so that published runs count as unpublished ({error})")
    for one in found:
        expected = one.receipt["checkpoint"] if one.receipt else None
        safe = bool(one.pointer and expected and sizes.get(expected["md5"]) == expected["bytes"])
        if not safe and not unpublished:
            what = "the remote does not hold it" if one.pointer and sizes else one.kind
            kept.append(f"{one.run}: {what}: --unpublished removes it for good")
            continue
        for name in LARGE:
            with contextlib.suppress(FileNotFoundError):
                size = (root / run_folder(one.run) / name).stat().st_size
                (root / run_folder(one.run) / name).unlink()
                freed += size
        if safe:
            cached = held.cache / expected["md5"][:2] / expected["md5"][2:]
            with contextlib.suppress(OSError):
                freed += cached.stat().st_size
                cached.unlink()
    return freed, kept
