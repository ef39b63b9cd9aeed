"""``data.dvc``: the tracked record of prepared data. DVC's own hash of ``data/``, and a content hash per data set.

DVC leaves the key ``meta`` of its files unchanged. It holds three maps, by data set: ``datasets``, the content hash that is
part of run ids, known on a fresh clone before anything is fetched; ``receipts``, the digest of the ``dataset.json`` that DVC
holds, written only after DVC succeeded, which shows that its entry is current; and ``sources``, the digest of the settings in
``config/datasets.yaml`` that gave this content.
"""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from sslpairs import dvc
from sslpairs.config.datasets import DatasetSettings
from sslpairs.data.folders import locked, read_receipt
from sslpairs.errors import UserError
from sslpairs.files import canonical, sha256_file, sha256_text, write_atomic

BEFORE = "data/.data.dvc.before"
"""Exists while DVC writes ``data.dvc``."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def recorded(root: Path) -> dict[str, str]:
    """Content hash of every recorded data set, by name; empty without ``data.dvc``, UserError if it is unreadable."""
    return _meta(_load(root), "datasets", root)


KNOWN = {
    # cifar10-jpeg-mini, from the archive of JPEG files that config/datasets.yaml names
    "afbc5b38b7b7b2288fe260817f80ee286db221e0f220bd38b4e8a07414aed360": "a69812a5550d02f5345fe40befc55e58d288c698703c698a3668a71ffb18fff4",
}
"""Digest of a source's settings -> its content hash where its results were produced: these can be shown without the images."""


def contents(root: Path, datasets: Mapping[str, DatasetSettings]) -> dict[str, str]:
    """Content hash of every data set for which it is known, by name: as recorded here, else as in the published results from the same
    source."""
    sources = {name: _source(dataset) for name, dataset in datasets.items()}
    return {name: KNOWN[source] for name, source in sources.items() if source in KNOWN} | recorded(root)


def changed_sources(root: Path, datasets: dict[str, DatasetSettings]) -> list[str]:
    """Data sets whose source in ``config/datasets.yaml`` is not the one of their recorded content."""
    known = _meta(_load(root), "sources", root)
    return [name for name, dataset in datasets.items() if known.get(name, _source(dataset)) != _source(dataset)]


def _source(dataset: DatasetSettings) -> str:
    return sha256_text(canonical(dataset.source.record()))


def record(name: str, content: str, root: Path, datasets: Mapping[str, DatasetSettings] | None = None) -> None:
    """Record that ``data/<name>`` is prepared with this content hash, and track it with DVC.

    No-op if ``data.dvc`` already has both: the content hash, and the digest of this ``dataset.json`` (which holds the
    digests of all other files). Only this data set is passed to DVC, so that others that are tracked but not fetched here
    stay tracked; those of ``datasets`` are prepared if DVC requires them.
    If DVC cannot be used, the content hash is recorded anyway, and one line on stderr gives the remedy.
    """
    with locked(root):
        receipt = _receipt_digest(name, root)
        entry = _load(root)
        source = sha256_text(canonical((read_receipt(name, root) or {}).get("source")))
        receipts = _meta(entry, "receipts", root)
        if (
            _meta(entry, "datasets", root).get(name) == content
            and receipts.get(name) == receipt
            and _meta(entry, "sources", root).get(name) == source
            and "outs" in entry
        ):
            return
        if entry:  # DVC writes its file in place: a kill at that moment leaves half of it, which this repairs
            for file in (BEFORE, "data.dvc"):
                write_atomic(root / file, yaml.safe_dump(entry, sort_keys=False, allow_unicode=True))
        problem = None
        if receipts.get(name) != receipt or "outs" not in entry:
            problem = _track(name, entry, root, datasets or {})
        entry = _load(root)  # DVC has written it
        meta = entry.setdefault("meta", {})
        meta["sources"] = dict(sorted({**_meta(entry, "sources", root), name: source}.items()))
        meta["datasets"] = dict(sorted({**_meta(entry, "datasets", root), name: content}.items()))
        if problem:
            receipts.pop(name, None)
            print(f"warning: DVC does not track data/{name} yet: {problem}", file=sys.stderr, flush=True)
        else:
            receipts[name] = receipt
        meta["receipts"] = dict(sorted(receipts.items()))
        write_atomic(root / "data.dvc", yaml.safe_dump(entry, sort_keys=False, allow_unicode=True))
        (root / BEFORE).unlink(missing_ok=True)


def _receipt_digest(name: str, root: Path) -> str:
    path = root / "data" / name / "dataset.json"
    if not path.is_file():
        raise UserError(f"data set '{name}' is not prepared; run: sslpairs fetch {name}")
    return sha256_file(path)


def _track(name: str, entry: dict, root: Path, datasets: Mapping[str, DatasetSettings]) -> str | None:
    """Add the data set to DVC's entry of ``data/``; returns the error and the remedy, or None."""
    if not (root / ".dvc").is_dir():
        init = "dvc init" if (root / ".git").exists() else "git init && dvc init"
        return f"there is no .dvc/ in {root}; run: {init}, then: sslpairs fetch {name}"
    if "outs" not in entry:
        problem = dvc.add("data", root)
    elif problem := dvc.add(f"data/{name}", root):
        # DVC can replace one folder in its listing of data/ while the others are not here, if it has the listing. A fresh
        # clone without a remote does not: then all of data/ is added, with everything that is recorded.
        others = {other: content for other, content in _meta(entry, "datasets", root).items() if other != name}
        _prepare(_absent(others, root), entry, root, datasets)
        if absent := _absent(others, root):
            problem += f" (tracked, but not here: {', '.join(absent)}; get them: dvc pull, or sslpairs fetch {' '.join(absent)})"
        else:
            problem = dvc.add("data", root)
    return f"{problem}; fix that, then: sslpairs fetch {name}" if problem else None


def _absent(known: dict[str, str], root: Path) -> list[str]:
    """Data sets that are not here with their known content."""

    def held(name: str) -> str | None:
        with contextlib.suppress(UserError):
            return (read_receipt(name, root) or {}).get("content")

    return [name for name, content in known.items() if held(name) != content]


def _prepare(absent: list[str], entry: dict, root: Path, datasets: Mapping[str, DatasetSettings]) -> None:
    """Prepare absent data sets whose recorded source is here: that of the digits always is."""
    from sslpairs.data.prepare import prepare
    from sslpairs.data.sources import is_here

    sources = _meta(entry, "sources", root)
    for name in absent:
        dataset = datasets.get(name)
        if dataset is None or (root / "data" / name).exists() or sources.get(name) != _source(dataset):
            continue
        if is_here(name, dataset, root):
            print(f"{name}: prepared too, since DVC tracks data/ as a whole", file=sys.stderr, flush=True)
            prepare(name, dataset, root)


def tracked(root: Path) -> str | None:
    """DVC's md5 of its listing of ``data/``, or None if DVC does not track it (any more)."""
    entry = _load(root)
    known, receipts = _meta(entry, "datasets", root), _meta(entry, "receipts", root)
    outs = entry.get("outs") or [{}]
    return outs[0].get("md5") if known and known.keys() == receipts.keys() else None


def untracked(root: Path) -> list[str]:
    """Recorded data sets that DVC does not track (any more)."""
    entry = _load(root)
    return sorted(_meta(entry, "datasets", root).keys() - _meta(entry, "receipts", root).keys())


def track_anew(root: Path) -> str | None:
    """Hand all of ``data/`` to DVC again, after its cache lost the listing; returns the error, or None."""
    with locked(root):
        entry = _load(root)
        if absent := _absent(_meta(entry, "datasets", root), root):
            return f"{', '.join(absent)} not here; get them: sslpairs fetch {' '.join(absent)}"
        return dvc.add("data", root)


def _load(root: Path) -> dict:
    """The record; the previous one if DVC was killed while it wrote."""
    if not (root / BEFORE).exists():
        return _read(root / "data.dvc")
    before = _read(root / BEFORE)
    try:
        entry = _read(root / "data.dvc")
        whole = all(
            _meta(before, key, root).keys() <= _meta(entry, key, root).keys()
            and all(len(digest) == 64 for digest in _meta(entry, key, root).values())
            for key in ("datasets", "receipts", "sources")
        )
    except UserError:
        whole = False
    return entry if whole else before


def _read(path: Path) -> dict:
    try:
        entry = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read ({reason}); restore it: git checkout data.dvc") from error
    if not isinstance(entry, dict):
        raise UserError(f"{path} is not a DVC file; restore it: git checkout data.dvc")
    return entry


def _meta(entry: dict, key: str, root: Path) -> dict[str, str]:
    meta = entry.get("meta") or {}
    hashes = (meta.get(key) or {}) if isinstance(meta, dict) else None
    if not isinstance(hashes, dict) or not all(isinstance(text, str) for pair in hashes.items() for text in pair):
        raise UserError(f"{root / 'data.dvc'}: meta.{key} is not a map of names to hashes; git checkout data.dvc")
    return dict(hashes)
