"""DimCL: a contrastive loss over the dimensions of the projections, added to the base's loss."""

from typing import ClassVar, Literal

from sslpairs.config.base import Fraction, Positive
from sslpairs.config.meaning import Meaning
from sslpairs.config.strategies.base import Strategy

_DEFINITION = "(1 - w) * base + w * contrast of the dimensions of both views' raw projections"


class DimCL(Strategy):
    """Settings of ``pairs/dimcl.py``."""

    title: ClassVar[str] = "DimCL"
    order: ClassVar[int] = 50
    meanings: ClassVar[dict[str, Meaning]] = {
        **dict.fromkeys(
            ("simclr", "mocoplus", "byol", "simsiam", "barlowtwins", "vicreg"), Meaning("released", _DEFINITION)
        ),
        "moco": Meaning(
            "refused",
            "DimCL contrasts the online projections of both views, and one-way MoCo projects only the query "
            "(the released code uses MoCo v2+): write mocoplus+dimcl",
        ),
        "swav": Meaning("ours", f"{_DEFINITION}, before their normalisation (the released code ignores the flag)"),
        "dino": Meaning("ours", f"{_DEFINITION}, at the bottleneck (the released code ignores the flag)"),
        "nnclr": Meaning("ours", f"{_DEFINITION} (the released code ignores the flag)"),
    }
    otherwise: ClassVar[Meaning | None] = Meaning("ours", _DEFINITION)

    version: Literal[1] = 1
    weight: Fraction
    """lambda in (1 - lambda) * base + lambda * dimensional contrast (released: 0.1, byol.py:176)."""
    temperature: Positive
    """tau (released: 0.1)."""
