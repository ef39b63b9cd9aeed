"""Whether a table or a figure on disk shows the numbers of now.

Beside the files of a table or a figure lies a record of what they were made from: the key of the plan (settings and code), the
evaluations' own digests, and the digest of each file. A build writes whatever does not fit its record again. Neither dates
of files nor what Snakemake remembers play a part in that, so that a job killed at any moment leaves no old number behind.
"""

from pathlib import Path

from sslpairs.errors import UserError
from sslpairs.files import canonical, read_record, sha256_file, sha256_text, write_record
from sslpairs.plan.build import Build
from sslpairs.plan.paths import ENDINGS

CURRENT, OLD, MISSING = "yes", "old", "no"
"""States of a table's or figure's files: they show the numbers of now, others, or are not all there."""


def made_from(build: Build, kind: str, name: str) -> str:
    """The sha256 over all that a table or a figure (``kind``: "tables" or "figures") is made from.

    Raises ``UserError`` or ``OSError`` where a part of it is missing or damaged.
    """
    entry = getattr(build.plan, kind)[name]
    parts = [entry["key"], *map(build.seal_of, build.evaluations_of(entry.get("table", name)))]
    if kind == "figures":
        parts += [sha256_file(build.root / file) for file in build.metrics_files(name)]
    return sha256_text(canonical(parts))


def seal(build: Build, kind: str, name: str, stem: Path, source: str) -> None:
    """Note beside the files of a table or a figure that they were made from ``source``, which ``made_from`` told before."""
    write_record(_record(stem), {"format": 1, "name": name, "made_from": source, "files": _digests(kind, stem)})


def state(build: Build, kind: str, name: str) -> str:
    """``CURRENT``, ``OLD`` or ``MISSING``: the files of a table or a figure, beside the plan and the evaluations of now."""
    stem = build.root / build.stem(kind, name)
    try:
        digests = _digests(kind, stem)
    except FileNotFoundError:
        return MISSING
    except OSError:
        return OLD
    try:
        found = read_record(_record(stem), build.root)
        same = found is not None and (found["files"], found["made_from"]) == (digests, made_from(build, kind, name))
    except (UserError, OSError):
        same = False
    return CURRENT if same else OLD


def outdated(build: Build, kind: str, name: str) -> list[str]:
    """The files of a table or a figure that a build must write again; none where they show the numbers of now."""
    return [] if state(build, kind, name) == CURRENT else build.files_of(kind, name)


def _digests(kind: str, stem: Path) -> dict[str, str]:
    return {ending: sha256_file(f"{stem}.{ending}") for ending in ENDINGS[kind]}


def _record(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}.record.json")
