"""Wildcard constraints for Snakemake."""

import re
from collections.abc import Iterable


def any_of(names: Iterable[str], everything: Iterable[str] | None = None) -> str:
    """Return a wildcard constraint that matches exactly these names.

    If they equal ``everything``, a generic pattern suffices and is much faster to match (the design's
    ``spec/workflow.md``, section 4). Without names, nothing matches.
    """
    names = set(names)
    if everything is not None and names and names == set(everything):
        return "[^/]+(/[^/]+)?" if any("/" in name for name in names) else "[^/]+"
    return "|".join(sorted(map(re.escape, names))) or "(?!)"
