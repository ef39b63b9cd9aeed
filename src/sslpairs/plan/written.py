"""Check whether a table or a figure on disk is up to date.

Next to the files of a table or a figure is a record of their sources: the key of the plan (settings and code), the digests of the
evaluations, and the digest of each file. A build rewrites whatever does not match its record. File times and Snakemake's metadata are
not used for this, so a job killed at any moment leaves no outdated number behind.
"""

from pathlib import Path

from sslpairs.errors import UserError
from sslpairs.files import canonical, read_record, sha256_file, sha256_text, write_record
from sslpairs.plan.build import Build
from sslpairs.plan.paths import ENDINGS

CURRENT, OLD, MISSING = "yes", "old", "no"
"""States of a table's or figure's files: up to date, out of date, or incomplete."""


def made_from(build: Build, kind: str, name: str) -> str:
    """Return the SHA-256 over everything that a table or a figure (``kind``: "tables" or "figures") is made from.

    Raise ``UserError`` or ``OSError`` if a part of it is missing or damaged.
    """
    entry = getattr(build.plan, kind)[name]
    parts = [entry["key"], *map(build.seal_of, build.evaluations_of(entry.get("table", name)))]
    if kind == "figures":
        parts += [sha256_file(build.root / file) for file in build.metrics_files(name)]
    return sha256_text(canonical(parts))


def seal(build: Build, kind: str, name: str, stem: Path, source: str) -> None:
    """Record that the files of a table or a figure were made from ``source``, as returned by ``made_from`` beforehand."""
    write_record(_record(stem), {"format": 1, "name": name, "made_from": source, "files": _digests(kind, stem)})


def state(build: Build, kind: str, name: str) -> str:
    """Return ``CURRENT``, ``OLD`` or ``MISSING``: the files of a table or a figure compared with the current plan and evaluations."""
    stem = build.root / build.stem(kind, name)
    try:
        digests = _digests(kind, stem)
    except FileNotFoundError:
        return MISSING
    except OSError:
        return OLD
    try:
        record = read_record(_record(stem), build.root)
        same = record is not None and (record["files"], record["made_from"]) == (digests, made_from(build, kind, name))
    except (UserError, OSError):
        same = False
    return CURRENT if same else OLD


def outdated(build: Build, kind: str, name: str) -> list[str]:
    """Return the files of a table or a figure that a build must rewrite; none if they are up to date."""
    return [] if state(build, kind, name) == CURRENT else build.files_of(kind, name)


def _digests(kind: str, stem: Path) -> dict[str, str]:
    return {ending: sha256_file(f"{stem}.{ending}") for ending in ENDINGS[kind]}


def _record(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}.record.json")
