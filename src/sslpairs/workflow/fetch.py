"""Prepare data sets: from what is on this machine, from the remote, or downloaded; and record their content."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslpairs.config.datasets import DatasetSettings
from sslpairs.config.reading import Config, read_config
from sslpairs.config.sources.base import PublishedSource, Source
from sslpairs.data.folders import read_receipt, stored_as
from sslpairs.data.record import changed_sources, contents, record, recorded
from sslpairs.data.sources import absent, downloads, find, is_here, needs_path
from sslpairs.errors import UserError, nearest
from sslpairs.plan.frozen import thaw
from sslpairs.plan.planner import make_plan
from sslpairs.plan.records import replicates
from sslpairs.workflow.weights import fetch_weights, nowhere


def fetch_datasets(
    root: Path,
    names: list[str],
    overrides: dict[str, Any],
    frozen: Path | None,
    force: bool,
    unknown: bool,
    given: Path | None = None,
) -> Iterator[str]:
    """Prepare data sets and record their content, and bring the weights of encoders; yield one line for each.

    Without names, use those that the selected tables need. ``unknown`` skips data sets whose content is known, ``force`` prepares
    existing ones again, ``given`` is where the files of the one data set are. With a ``frozen`` plan the content must be the planned
    one. Before anything is downloaded or prepared, ``UserError`` names all data sets and weights that must be obtained by hand.
    """
    if frozen:
        planned, encoders = thaw(frozen).datasets, {}
        datasets = {name: DatasetSettings.model_validate(entry["config"]) for name, entry in planned.items()}
    else:
        config = read_config(root, overrides)
        planned, datasets, encoders = {}, config.datasets, config.encoders
        names = names or needed(config)
    check_names(names, [*datasets, *encoders])
    if given and len(names) != 1:
        raise UserError(
            "--from is where the files of one data set or encoder are; name it: sslpairs fetch NAME --from PATH"
        )
    wanted = {name: encoders[name] for name in names if name in encoders}
    names = [name for name in names if name in datasets]
    left = contents(root, datasets) if unknown else {}
    known = recorded(root)
    anew = force or given  # whatever is there, damaged or not
    todo = {name: None if anew else _in_place(name, datasets[name], root, known) for name in names if name not in left}
    if not given:
        unprepared = [name for name, receipt in todo.items() if receipt is None]
        _check_by_hand(unprepared, datasets, root, known, nowhere(root, wanted))
    yield from fetch_weights(root, wanted, given)
    for name, receipt in todo.items():
        done = receipt or _obtain(name, datasets[name], root, known, given)
        content, counts = done["content"], done["counts"]
        _check(name, datasets[name], done, planned)
        record(name, content, root, datasets)
        images = f"{counts['train']:,} training and {counts['test']:,} test images"
        if receipt:
            yield f"{name}: in place ({images})"
        else:
            changed = known.get(name, content) != content
            yield f"{name}: prepared {images}" + " (its content has changed: its runs will be trained again)" * changed


def check_names(names: Iterable[str], known: Iterable[str]) -> None:
    """``UserError`` for a name that is not ``known``."""
    known = list(known)
    for name in names:
        if name not in known:
            raise UserError(f"no data set or encoder '{name}'{nearest(name, known)} ({', '.join(known)})")


def _in_place(name: str, dataset: DatasetSettings, root: Path, known: Mapping[str, str]) -> dict | None:
    """The receipt of a data set that is prepared as recorded and configured; None if it must be prepared."""
    receipt = read_receipt(name, root)
    if receipt is None or receipt["content"] != known.get(name) or not _is_of(receipt, dataset):
        return None
    # Data from a remote are accepted, however they are stored.
    wanted = getattr(dataset.source, "storage", "auto")
    as_wanted = wanted in ("auto", stored_as(receipt)) or not is_here(name, dataset, root)
    return receipt if as_wanted else None


def _is_of(receipt: dict, dataset: DatasetSettings) -> bool:
    """Whether the data were prepared with the settings of the configuration."""
    return receipt["source"] == json.loads(json.dumps(dataset.source.record()))


def _check(name: str, dataset: DatasetSettings, receipt: dict, planned: Mapping[str, Any]) -> None:
    from sslpairs.data.prepare import check_expected

    check_expected(name, dataset, receipt["counts"], f"data/{name}")
    if name in planned and receipt["content"] != planned[name]["content"]:
        raise UserError(
            f"data/{name}: the images from the source differ from the recorded ones ({receipt['content'][:12]}, not "
            f"{planned[name]['content'][:12]}); if that is intended, run `sslpairs fetch {name}` and build again"
        )


def _check_by_hand(
    names: list[str],
    datasets: Mapping[str, DatasetSettings],
    root: Path,
    known: Mapping[str, str],
    others: list[str],
) -> None:
    """``UserError`` with one line for each data set that can be neither prepared, restored nor downloaded, and the ``others``."""
    lines = [
        absent(name, datasets[name], root) for name in names if state(name, datasets[name], root, known) == BY_HAND
    ]
    if lines + others:
        raise UserError("\n".join(lines + others))


def _obtain(name: str, dataset: DatasetSettings, root: Path, known: Mapping[str, str], given: Path | None) -> dict:
    """Prepare a data set: from ``given``, from what is on this machine, from the remote if it is the recorded one and was published, or
    from what is downloaded now."""
    from sslpairs.data.prepare import prepare

    if given and not needs_path(dataset.source):
        raise UserError(f"data set '{name}': its images come with a library; leave out --from")
    if given and not given.exists():
        raise UserError(f"--from {given}: there is no such file or folder")
    if given:
        return prepare(name, dataset, root, given.absolute())
    if is_here(name, dataset, root) and not _unfinished(dataset.source, root):
        return prepare(name, dataset, root)
    problem = None
    if name in known and not changed_sources(root, {name: dataset}):
        from sslpairs.store.restore import restore_dataset

        try:
            if receipt := restore_dataset(name, root):
                return receipt
        except UserError as error:
            problem = error
    if _is_downloaded(dataset.source):
        _download(dataset.source, root)
    elif problem:
        raise UserError(
            f"data set '{name}': {find(name, dataset, root) or 'its source'} not found, and the data set cannot be restored: {problem}"
        )
    return prepare(name, dataset, root)


def _download(source: PublishedSource, root: Path) -> None:
    from sslpairs.data.download import download

    for file in source.remote():
        download(file, downloads(source, root))


def _is_downloaded(source: Source) -> bool:
    """Whether its files are downloaded if they are not here."""
    return isinstance(source, PublishedSource) and bool(source.remote()) and not source.by_hand and not source.path


def _unfinished(source: Source, root: Path) -> bool:
    """Whether some, but not all, of the files to download are in their folder, and no folder, which might be another form of the rest."""
    if not _is_downloaded(source):
        return False
    folder = downloads(source, root)
    there = [(folder / file.name).exists() for file in source.remote()]
    folders = folder.is_dir() and any(path.is_dir() for path in folder.iterdir())
    return any(there) and not all(there) and not folders


# --- what is here ----------------------------------------------------------------------------------------------------

PREPARED, RECORDED, HERE, DOWNLOAD, BY_HAND = "prepared", "recorded", "files here", "to download", "by hand"


@dataclass(frozen=True)
class Availability:
    """What is known about a data set on this machine."""

    name: str
    state: str
    """'prepared', 'recorded' (its content is known, and may be restored from the remote), 'files here', 'to download' or 'by hand'."""
    images: tuple[int, int] | None
    """Training and test images, if they are known."""
    files: dict[Path, int | None]
    """Files still to download or to obtain, with their bytes if these are on record."""
    homepage: str
    terms: str


def availability(root: Path, datasets: Mapping[str, DatasetSettings]) -> list[Availability]:
    """What is known about each data set here, in the order of the configuration."""
    known, found = recorded(root), []
    for name, dataset in datasets.items():
        source, now = dataset.source, state(name, dataset, root, known)
        counts = source.counts()
        if dataset.expected:
            counts = dataset.expected.train, dataset.expected.test
        with contextlib.suppress(UserError):
            if receipt := read_receipt(name, root):
                counts = receipt["counts"]["train"], receipt["counts"]["test"]
        published = isinstance(source, PublishedSource)
        wanted = source.remote() if published and now in (DOWNLOAD, BY_HAND, RECORDED) else ()
        files = {downloads(source, root) / file.name: file.bytes for file in wanted}
        files = {path: size for path, size in files.items() if not path.exists()}
        homepage, terms = (source.homepage, source.terms) if published else (getattr(source, "path", ""), "")
        found.append(Availability(name, now, counts, files, homepage, terms))
    return found


def state(name: str, dataset: DatasetSettings, root: Path, known: Mapping[str, str]) -> str:
    """One of the words of ``Availability.state``."""
    receipt = None
    with contextlib.suppress(UserError):
        receipt = read_receipt(name, root)
    if receipt and receipt["content"] == known.get(name, receipt["content"]) and _is_of(receipt, dataset):
        return PREPARED
    if is_here(name, dataset, root) and not _unfinished(dataset.source, root):
        return HERE
    if name in known and not changed_sources(root, {name: dataset}):
        return RECORDED
    return DOWNLOAD if _is_downloaded(dataset.source) else BY_HAND


def needed(config: Config) -> list[str]:
    """Return the data sets and the encoders of the selected tables; planning works without them."""
    plan = make_plan(config, {})
    runs = (one["run"] for table in plan.selected for one in replicates(plan.tables[table]))
    return [*plan.datasets_of(plan.selected), *(plan.encoders[digest]["name"] for digest in plan.encoders_of(runs))]
