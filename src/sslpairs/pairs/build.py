"""The pair strategies of a run, in the order of composition."""

from sslpairs.config.registry import other_half
from sslpairs.pairs.base import Pairs
from sslpairs.plan.spec import RunSpec


def build_pairs(spec: RunSpec) -> list[Pairs]:
    """One object per strategy that the run uses."""
    used = {name: getattr(spec.strategies, name) for name in spec.active}
    return [other_half("sslpairs.pairs", name, type(settings))(settings) for name, settings in used.items()]
