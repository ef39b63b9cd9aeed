"""The pair strategies of a run, in the order of composition."""

from sslpairs.pairs.base import Pairs
from sslpairs.pairs.clae import CLAE
from sslpairs.pairs.dimcl import DimCL
from sslpairs.pairs.gps import GPS
from sslpairs.pairs.mixco import MixCo
from sslpairs.pairs.spps import SPPS
from sslpairs.plan.spec import RunSpec

CLASSES: dict[str, type[Pairs]] = {"spps": SPPS, "gps": GPS, "mixco": MixCo, "clae": CLAE, "dimcl": DimCL}


def build_pairs(spec: RunSpec) -> list[Pairs]:
    """One object a strategy that the run uses."""
    return [CLASSES[name](getattr(spec.strategies, name)) for name in spec.active]
