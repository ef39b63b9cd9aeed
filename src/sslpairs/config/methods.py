"""Method labels such as ``byol+gps+dimcl``: what they mean, and which combinations are refused."""

from dataclasses import dataclass

from sslpairs.errors import UserError, nearest

BASES = {"simclr": "SimCLR", "moco": "MoCo v2", "mocoplus": "MoCo v2+", "byol": "BYOL"}
STRATEGIES = {"spps": "SPPS", "gps": "GPS", "mixco": "MixCo", "clae": "CLAE", "dimcl": "DimCL"}

REFUSED = {
    ("moco", "dimcl"): "DimCL contrasts the online projections of both views, and one-way MoCo projects only the query "
    "(the released code uses MoCo v2+): write mocoplus+dimcl",
}


@dataclass(frozen=True)
class Label:
    """A base method and its pair strategies, in the fixed order of ``STRATEGIES``."""

    base: str
    strategies: tuple[str, ...]

    def __str__(self) -> str:
        return "+".join((self.base, *self.strategies))

    @property
    def title(self) -> str:
        """What tables print, for example 'BYOL + GPS'."""
        return " + ".join([BASES[self.base], *(STRATEGIES[name] for name in self.strategies)])


def parse_label(text: str) -> Label:
    """Read a method label; strategies may come in any order.

    Raises ``UserError`` for unknown or doubled words and for combinations without a meaning.
    """
    base, *strategies = text.split("+")
    if base not in BASES:
        raise UserError(f"'{text}': '{base}' is not a base method{nearest(base, list(BASES))} ({', '.join(BASES)})")
    for name in strategies:
        if name not in STRATEGIES:
            hint = nearest(name, list(STRATEGIES))
            raise UserError(f"'{text}': '{name}' is not a pair strategy{hint} ({', '.join(STRATEGIES)})")
        if strategies.count(name) > 1:
            raise UserError(f"'{text}': '{name}' stands twice; write it once")
        if reason := REFUSED.get((base, name)):
            raise UserError(f"'{text}' has no meaning: {reason}")
    return Label(base, tuple(name for name in STRATEGIES if name in strategies))
