"""CLAE: an adversarial version of view 1 is one more view."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sslpairs.config.base import NonNegative, Positive
from sslpairs.config.meaning import Meaning
from sslpairs.config.methods.base import Method
from sslpairs.config.strategies.base import Strategy

_OWN = "adds the base's loss between clean view 1 and its adversarial version"


class CLAE(Strategy):
    """Settings of ``pairs/clae.py``."""

    title: ClassVar[str] = "CLAE"
    order: ClassVar[int] = 40
    meanings: ClassVar[dict[str, Meaning]] = {
        "simclr": Meaning("released", _OWN),
        "uel": Meaning("released", _OWN),
        "plain": Meaning(
            "released", "adds the base's loss between clean view 1 (embedded anew) and its adversarial version"
        ),
        "moco": Meaning("ours", "the attacked query, in its own norms, against clean keys of view 2 and the queue"),
        "mocoplus": Meaning(
            "ours", "the attacked query, in its own norms, against clean keys of view 2 and their queue"
        ),
        "byol": Meaning(
            "ours",
            "the attacked image, online branch only, predicts the target of clean view 2; one direction, the base two",
        ),
        "simsiam": Meaning(
            "ours", "the attacked image predicts the projection of clean view 2 (main norms, without gradient there)"
        ),
        "barlowtwins": Meaning("ours", _OWN),
        "vicreg": Meaning("ours", _OWN),
        "swav": Meaning("ours", "the attacked image predicts the codes of clean view 2 (main norms)"),
        "dino": Meaning(
            "ours", "the attacked image, in the student only, predicts the teacher's output for clean view 2"
        ),
        "nnclr": Meaning("ours", f"{_OWN}, same queue"),
    }

    version: Literal[1] = 1
    epsilon: Positive
    """Size of the attack, in units of normalised pixels (released scripts: 0.03)."""
    weight: NonNegative
    """alpha: weight of the adversarial term, added to the base loss (released: 1)."""
    batch_norm_momentum: Annotated[float, Field(gt=0, le=1)]
    """Momentum of the second set of batch norms (released: 0.01)."""
    clip: bool
    """Clip attacked pixels to the valid range. Released: off, so images may leave it."""
    attack_updates_norms: bool
    """Whether the attack's own forward passes on clean images update the running statistics of the second norms.
    Released: yes, so two thirds of their inputs are clean."""

    @classmethod
    def passes(cls, base: type[Method]) -> float:
        """The adversarial view, forward and backward, preceded by the attack: forward, and backward to the image."""
        return 3 + 2

    @classmethod
    def kept(cls, base: type[Method]) -> float:
        """The adversarial view, or the attack that precedes it."""
        return 1
