"""DimCL: a contrastive loss over the dimensions of the projections, added to the base's loss."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from sslpairs.config.base import Fraction, Positive
from sslpairs.config.meaning import Meaning
from sslpairs.config.methods.base import Method
from sslpairs.config.strategies.base import Problem, Strategy

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
    as_before: ClassVar[dict[str, Any]] = {"loss": "contrast", "off_diagonal": None}

    version: Literal[1] = 1
    weight: Fraction
    """lambda in (1 - lambda) * base + lambda * dimensional contrast (released: 0.1, byol.py:176)."""
    temperature: Positive | None
    """tau (released: 0.1). The simple loss has none: it is set to null there."""
    loss: Literal["contrast", "simple"] = "contrast"
    """``contrast``: NT-Xent between the dimensions. ``simple``: the authors' ablation (oursloss.py:142-175, called in no released
    script), which has no softmax and grows with the batch."""
    off_diagonal: Annotated[float, Field(ge=-1e6, le=1e6)] | None = None
    """``simple`` only: weight of the mean of the off-diagonal products; null means the released 1. The sign is the released one: above
    0 it rewards correlated dimensions, below 0 it penalises them."""

    def under(self, base: type[Method]) -> Self:
        """The simple loss without a temperature, and with the weight that null stands for."""
        if self.loss == "contrast":
            return self
        weight = 1.0 if self.off_diagonal is None else float(self.off_diagonal)
        return self.model_copy(update={"temperature": None, "off_diagonal": weight})

    def problem(self, base: type[Method], batch_size: int, images: int | None, data: str) -> Problem | None:
        """A contrast without a temperature, or with the other loss's weight."""
        if self.loss == "contrast" and self.temperature is None:
            words = "null, but the contrast of the dimensions has a softmax; write a number"
            return Problem("strategies.dimcl.temperature", words)
        if self.loss == "contrast" and self.off_diagonal is not None:
            words = f"{self.off_diagonal:g}, but only the simple loss has this weight; write null, or loss: simple"
            return Problem("strategies.dimcl.off_diagonal", words)
        return None
