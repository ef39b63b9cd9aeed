"""Wildcard constraints for Snakemake."""

import re
from collections.abc import Collection, Iterable


def any_of(names: Iterable[str], everything: Collection[str] | None = None) -> str:
    """Return a wildcard constraint that matches exactly these names, among ``everything`` if it is given.

    Snakemake matches every file against it, so that thousands of names take long. Where nearly all of ``everything`` is meant, the
    pattern says what is not. Without names, nothing matches. Names of runs and evaluations end in a digest, so that none is the
    beginning of another.
    """
    names = set(names)
    rest = set(everything or ()) - names
    if everything is None or not names or 4 * len(rest) > len(names):
        return _alternatives(names) or "(?!)"
    generic = "[^/]+(?:/[^/]+)?" if any("/" in name for name in names) else "[^/]+"
    return f"(?!(?:{_alternatives(rest)})(?:[/.]|$)){generic}" if rest else generic


def _alternatives(names: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, names)))
