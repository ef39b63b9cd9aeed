"""SPPS: mined pairs of images extend the list of pairs."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from sslpairs.config.base import Count
from sslpairs.config.guides import Guide
from sslpairs.config.meaning import Meaning
from sslpairs.config.strategies.base import Strategy


class SPPSSettings(Strategy):
    """Settings of ``pairs/spps.py``. No code was released: every number is ours or from memory, none is the paper's."""

    title: ClassVar[str] = "SPPS"
    order: ClassVar[int] = 10
    lengthens: ClassVar[bool] = True
    meanings: ClassVar[dict[str, Meaning]] = {
        base: Meaning(
            "named", f"Mined pairs are added to the list of items ({source} of the abstract). The thresholds are ours."
        )
        for base, source in {"simclr": "v1", "moco": "v3", "simsiam": "v3"}.items()
    }
    otherwise: ClassVar[Meaning | None] = Meaning(
        "ours",
        "Mined pairs are added to the list of items. Only the sources of the views change; the objective is the base's.",
    )

    as_before: ClassVar[dict[str, Any]] = {"steps": "all"}

    version: Literal[1] = 1
    mode: Literal["interval", "quantile"]
    """``interval``: low and high are cosines; ``quantile``: they are quantiles of the cosines of all pairs (ours)."""
    low: Annotated[float, Field(ge=-1, le=1)]
    """0.97 in interval mode is from memory, unconfirmed; the range of cosines depends on the encoder."""
    high: Annotated[float, Field(ge=-1, le=1)]
    """0.99 in interval mode is from memory, unconfirmed; it drops copies of the same image."""
    inclusive: bool
    """Whether pairs exactly at low or high are included. Ours: yes."""
    ordered: bool
    """Count (a, b) and (b, a) as two items instead of one. Ours: one."""
    max_partners: Count | None
    """Maximum number of partners of an image, the most similar ones; null keeps all. Ours."""
    share: Annotated[float, Field(gt=0, le=1)]
    """Fraction of the training images, sampled once at random, in which pairs are mined. Ours."""
    steps: Literal["as-base", "all"] = "all"
    """``as-base``: an epoch has as many items as there are images, drawn from the longer list, so that SPPS trains for as many steps as its
    base method. ``all``: an epoch passes over the whole list, so that SPPS trains longer."""
    guide: Guide
    """According to the abstract, a pre-trained self-supervised encoder; that images are un-augmented is from memory."""

    @model_validator(mode="after")
    def _ordered(self):
        if self.low > self.high:
            raise ValueError(f"low {self.low} exceeds high {self.high}")
        if self.mode == "quantile" and self.low < 0:
            raise ValueError(f"low {self.low} is not a quantile: quantiles lie within [0, 1]")
        return self
