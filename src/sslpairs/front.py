"""From a folder and the words of a command line to a build: what the Snakefile and the command line share."""

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sslpairs.config.reading import Config, read_config
from sslpairs.data.record import record, recorded
from sslpairs.errors import UserError, nearest
from sslpairs.files import read_json
from sslpairs.plan.build import Build, thaw
from sslpairs.plan.planner import make_plan


def make_build(root: Path, overrides: dict[str, Any] | None = None) -> Build:
    """Read the configuration, plan it, and look at what exists."""
    return Build(make_plan(read_config(root, overrides), recorded(root)), root)


def equip_jobs(frozen: Path) -> None:
    """Let the jobs of this process run the sslpairs that belongs to its Python, and read the frozen plan."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ["SSLPAIRS_PLAN"] = str(frozen)


def share_warm_processes() -> None:
    """Let the jobs of this process, on this machine, share processes that have imported torch (``sslpairs.warm``)."""
    folder = f"sslpairs-{socket.gethostname()}-{os.getpid()}"
    os.environ["SSLPAIRS_WARM"] = str(Path(tempfile.gettempdir()) / folder)


def fetch_datasets(
    root: Path, names: list[str], overrides: dict[str, Any], frozen: Path | None, force: bool, unknown: bool
) -> Iterator[str]:
    """Prepare data sets and record their content; yields a line for each.

    Without names: those that the chosen tables need. ``unknown`` skips those whose content is on record, ``force`` prepares
    anew what is there. Under a ``frozen`` plan the content must be the planned one.
    """
    from sslpairs.config.datasets import Dataset
    from sslpairs.data.prepare import prepare

    known = recorded(root)
    if frozen:
        planned = thaw(frozen).datasets
        datasets = {name: Dataset.model_validate(entry["config"]) for name, entry in planned.items()}
    else:
        config = read_config(root, overrides)
        planned, datasets = {}, config.datasets
        names = names or _needed(config)
    for name in names:
        if name not in datasets:
            hint = nearest(name, list(datasets))
            raise UserError(f"config/datasets.yaml: there is no data set '{name}'{hint} ({', '.join(datasets)})")
        if unknown and name in known:
            continue
        receipt = read_json(root / "data" / name / "dataset.json")
        in_place = receipt is not None and receipt.get("content") == known.get(name)
        if not in_place or force:
            receipt = prepare(name, datasets[name], root)
        content = receipt["content"]
        if name in planned and content != planned[name]["content"]:
            raise UserError(
                f"data/{name}: the source gives other images than data.dvc records ({content[:12]}, not "
                f"{planned[name]['content'][:12]}); if that is meant, run `sslpairs fetch {name}` and build again"
            )
        record(name, content, root)
        counts = receipt["counts"]
        if in_place and not force:
            yield f"{name}: in place ({counts['train']:,} training and {counts['test']:,} test images)"
        else:
            changed = (
                " (another content than before: its runs will be trained anew)"
                if known.get(name, content) != content
                else ""
            )
            yield f"{name}: prepared {counts['train']:,} training and {counts['test']:,} test images{changed}"


def _needed(config: Config) -> list[str]:
    """Data sets of the chosen tables; planning needs no real content for that."""
    plan = make_plan(config, dict.fromkeys(config.datasets, "not prepared"))
    return list(
        dict.fromkeys(
            plan.runs[replicate["run"]]["dataset"]
            for table in plan.selected
            for cell in plan.tables[table]["cells"]
            for replicate in cell["replicates"]
        )
    )
