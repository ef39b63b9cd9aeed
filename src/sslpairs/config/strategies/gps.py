"""GPS: the second view comes from a near neighbour of the image."""

from typing import ClassVar, Literal

from pydantic import model_validator

from sslpairs.config.base import Count, Model, Positive
from sslpairs.config.guides import Guide, Layer
from sslpairs.config.meaning import Meaning
from sslpairs.config.methods.base import Method
from sslpairs.config.strategies.base import Problem, Strategy

_SOURCES = "View 2 comes from a near neighbour of the image. Only the sources of the views change; the objective is the base's."


class Rebuild(Model):
    """Recompute GPS's neighbours from the network in training (released: ``reload_freq``, base_datamodule.py:54-118)."""

    every: Count
    """Epochs between updates of the neighbour table; the first table, from the guide, is used for as many epochs."""
    layer: Layer
    """Released: either one, selected by key ``feats`` or ``z``."""


class GPSSettings(Strategy):
    """Settings of ``pairs/gps.py``."""

    title: ClassVar[str] = "GPS"
    order: ClassVar[int] = 20
    meanings: ClassVar[dict[str, Meaning]] = {
        **dict.fromkeys(
            ("simclr", "byol", "barlowtwins", "vicreg"),
            Meaning("released", "View 2 comes from one of the k nearest neighbours, drawn anew at every fetch."),
        ),
        "nnclr": Meaning("ours", f"{_SOURCES} The released configuration crashes."),
    }
    otherwise: ClassVar[Meaning | None] = Meaning("ours", _SOURCES)

    version: Literal[1] = 1
    choice: Literal["nearest", "threshold", "farthest"]
    """``nearest``: uniform among the k nearest (released: gps_dataset.py:143-144). ``threshold``: uniform among all
    candidates within the radius (released: ``nn_threshold``, gps_dataset.py:245-268). ``farthest``: the farthest candidate
    within the radius (the paper's abstract)."""
    neighbours: Count | None
    """k, for ``nearest``; null otherwise."""
    radius: Positive | None
    """Largest squared Euclidean distance, for ``threshold`` and ``farthest``; null otherwise."""
    candidates: Count | None
    """Number of nearest images considered for ``threshold`` and ``farthest`` (released: 2048, utils/misc.py:579-602); null for
    ``nearest``."""
    include_self: bool
    """Whether the image itself is a candidate and counts as one of the k. Released: off for CIFAR-10, on by default."""
    guide: Guide
    rebuild: Rebuild | None

    @model_validator(mode="after")
    def _contradictions(self):
        ball = (self.radius, self.candidates)
        if self.choice == "nearest" and (self.neighbours is None or ball != (None, None)):
            raise ValueError("choice 'nearest' uses only neighbours: write radius: null and candidates: null")
        if self.choice != "nearest" and (None in ball or self.neighbours is not None):
            raise ValueError(f"choice '{self.choice}' needs radius and candidates: set them and write neighbours: null")
        if self.neighbours == 1 and self.include_self:
            raise ValueError(
                "the single nearest candidate is the image itself, so GPS would have no effect: increase neighbours"
            )
        return self

    def problem(self, base: type[Method], batch_size: int, images: int | None, data: str) -> Problem | None:
        """More neighbours than candidates."""
        most = (images or 0) - (not self.include_self)
        if images and self.choice == "nearest" and self.neighbours > most:
            words = f"{self.neighbours:,} exceeds the {most:,} candidates in {data}; write a smaller number"
            return Problem("strategies.gps.neighbours", words)
        return None
