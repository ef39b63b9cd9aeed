"""Prepare data sets or restore them from the remote, and record their content."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sslpairs.config.reading import Config, read_config
from sslpairs.data.record import changed_sources, contents, record, recorded
from sslpairs.errors import UserError, nearest
from sslpairs.plan.frozen import thaw
from sslpairs.plan.planner import make_plan
from sslpairs.plan.records import replicates


def fetch_datasets(
    root: Path, names: list[str], overrides: dict[str, Any], frozen: Path | None, force: bool, unknown: bool
) -> Iterator[str]:
    """Prepare data sets and record their content; yield one line for each.

    Without names, use those that the selected tables need. ``unknown`` skips data sets whose content is known, ``force`` prepares
    existing ones again. With a ``frozen`` plan the content must be the planned one.
    """
    from sslpairs.config.datasets import DatasetSettings
    from sslpairs.data.folders import read_receipt
    from sslpairs.data.prepare import check_expected

    known = recorded(root)
    if frozen:
        planned = thaw(frozen).datasets
        datasets = {name: DatasetSettings.model_validate(entry["config"]) for name, entry in planned.items()}
    else:
        config = read_config(root, overrides)
        planned, datasets = {}, config.datasets
        names = names or _needed(config)
    left = contents(root, datasets) if unknown else {}
    for name in names:
        if name not in datasets:
            hint = nearest(name, list(datasets))
            raise UserError(f"config/datasets.yaml: no data set '{name}'{hint} ({', '.join(datasets)})")
        if name in left:
            continue
        receipt = None if force else read_receipt(name, root)
        source = json.loads(json.dumps(datasets[name].source.record()))
        in_place = (
            receipt is not None
            and receipt.get("content") == known.get(name)
            and receipt.get("source") == source
            and _stored_as_wanted(receipt, datasets[name], name, root)
        )
        if not in_place:
            receipt = _obtain(name, datasets[name], root, known)
        check_expected(name, datasets[name], receipt["counts"], f"data/{name}")
        content = receipt["content"]
        if name in planned and content != planned[name]["content"]:
            raise UserError(
                f"data/{name}: the images from the source differ from the recorded ones ({content[:12]}, not "
                f"{planned[name]['content'][:12]}); if that is intended, run `sslpairs fetch {name}` and build again"
            )
        record(name, content, root, datasets)
        counts = receipt["counts"]
        if in_place:
            yield f"{name}: in place ({counts['train']:,} training and {counts['test']:,} test images)"
        else:
            changed = (
                " (its content has changed: its runs will be trained again)"
                if known.get(name, content) != content
                else ""
            )
            yield f"{name}: prepared {counts['train']:,} training and {counts['test']:,} test images{changed}"


def _stored_as_wanted(receipt: dict, dataset: Any, name: str, root: Path) -> bool:
    """Whether the data are stored as arrays or files as set in ``storage``; data from a remote are accepted either way."""
    from sslpairs.data.folders import stored_as
    from sslpairs.data.sources import is_here

    wanted = getattr(dataset.source, "storage", "auto")
    return wanted in ("auto", stored_as(receipt)) or not is_here(name, dataset, root)


def _obtain(name: str, dataset: Any, root: Path, known: dict[str, str]) -> dict:
    """Prepare a data set from its source. If the source is not on this machine, but is the recorded one and was published, restore
    the data set from the remote."""
    from sslpairs.data.prepare import prepare
    from sslpairs.data.sources import find, is_here

    if is_here(name, dataset, root) or name not in known or changed_sources(root, {name: dataset}):
        return prepare(name, dataset, root)
    from sslpairs.store.restore import restore_dataset

    try:
        receipt = restore_dataset(name, root)
    except UserError as error:
        raise UserError(
            f"data set '{name}': {find(name, dataset, root)} not found, and the data set cannot be restored: {error}"
        ) from None
    return receipt or prepare(name, dataset, root)


def _needed(config: Config) -> list[str]:
    """Return the data sets of the selected tables; planning works without their real content."""
    plan = make_plan(config, dict.fromkeys(config.datasets, "not prepared"))
    return list(
        dict.fromkeys(
            name
            for table in plan.selected
            for replicate in replicates(plan.tables[table])
            for name in (
                plan.runs[replicate["run"]]["dataset"],
                plan.evaluations[replicate["evaluation"]].get("dataset"),
            )
            if name
        )
    )
