"""Wildcard constraints for Snakemake."""

import re
from collections.abc import Iterable


def any_of(names: Iterable[str], everything: Iterable[str] | None = None) -> str:
    """A wildcard constraint that fits just these names.

    When they are ``everything`` that there is, a pattern by form serves and is much faster to match (the design's
    ``spec/workflow.md``, section 4); when there are none, nothing fits.
    """
    names = set(names)
    if everything is not None and names and names == set(everything):
        return "[^/]+(/[^/]+)?" if any("/" in name for name in names) else "[^/]+"
    return "|".join(sorted(map(re.escape, names))) or "(?!)"
