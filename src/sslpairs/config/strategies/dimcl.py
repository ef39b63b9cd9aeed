"""DimCL: a contrastive loss over the dimensions of the projections, added to the base's loss."""

from typing import ClassVar, Literal

from sslpairs.config.base import Fraction, Positive
from sslpairs.config.meaning import Meaning
from sslpairs.config.strategies.base import Strategy

_DEFINITION = "The loss is (1 - w) * base + w * the contrast of the dimensions of both views' raw projections"
_IGNORED = "The released code ignores the flag."


class DimCLSettings(Strategy):
    """Settings of ``pairs/dimcl.py``."""

    title: ClassVar[str] = "DimCL"
    order: ClassVar[int] = 50
    meanings: ClassVar[dict[str, Meaning]] = {
        **dict.fromkeys(
            ("simclr", "mocoplus", "byol", "simsiam", "barlowtwins", "vicreg"), Meaning("released", f"{_DEFINITION}.")
        ),
        "moco": Meaning(
            "refused",
            "DimCL contrasts the online projections of both views, but one-way MoCo projects only the query. The released code "
            "uses MoCo v2+: write mocoplus+dimcl",
        ),
        "swav": Meaning("ours", f"{_DEFINITION}, before they are normalised. {_IGNORED}"),
        "dino": Meaning("ours", f"{_DEFINITION}, taken at the bottleneck. {_IGNORED}"),
        "nnclr": Meaning("ours", f"{_DEFINITION}. {_IGNORED}"),
    }
    otherwise: ClassVar[Meaning | None] = Meaning("ours", f"{_DEFINITION}.")

    version: Literal[1] = 1
    weight: Fraction
    """lambda in (1 - lambda) * base + lambda * dimensional contrast (released: 0.1, byol.py:176)."""
    temperature: Positive
    """tau (released: 0.1)."""
