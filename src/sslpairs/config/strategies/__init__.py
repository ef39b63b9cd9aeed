"""Pair strategies, one file each: settings and facts. Their computations are in the file of the same name in ``sslpairs.pairs``."""

from sslpairs.config.registry import scan
from sslpairs.config.strategies.base import Strategy

_FOUND = scan(__name__, Strategy, "sslpairs.pairs")
STRATEGIES: dict[str, type[Strategy]] = dict(sorted(_FOUND.items(), key=lambda entry: entry[1].order))
"""In the order of composition."""
