"""CLAE: an adversarial version of view 1 is one more view."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from sslpairs.config.base import NonNegative, Positive
from sslpairs.config.meaning import Meaning
from sslpairs.config.methods.base import Method
from sslpairs.config.strategies.base import Problem, Strategy

_OWN = "The base's loss between clean view 1 and its adversarial version is added."
_QUERY = "The attacked query, with batch norms of its own, is contrasted with the clean keys of view 2"


class CLAESettings(Strategy):
    """Settings of ``pairs/clae.py``."""

    title: ClassVar[str] = "CLAE"
    order: ClassVar[int] = 40
    meanings: ClassVar[dict[str, Meaning]] = {
        "simclr": Meaning("released", _OWN),
        "uel": Meaning("released", _OWN),
        "plain": Meaning("released", f"{_OWN} Clean view 1 is embedded once more for it."),
        "moco": Meaning("ours", f"{_QUERY} and the queue."),
        "mocoplus": Meaning("ours", f"{_QUERY} and their queue."),
        "byol": Meaning(
            "ours",
            "The attacked image passes through the online network only and predicts the target of clean view 2. This is one "
            "direction; the base's loss has two.",
        ),
        "simsiam": Meaning(
            "ours",
            "The attacked image predicts the projection of clean view 2, which is made with the main batch norms and gets no "
            "gradient.",
        ),
        "barlowtwins": Meaning("ours", _OWN),
        "vicreg": Meaning("ours", _OWN),
        "swav": Meaning(
            "ours", "The attacked image predicts the codes of clean view 2, which are made with the main batch norms."
        ),
        "dino": Meaning(
            "ours",
            "The attacked image passes through the student only and predicts the teacher's output for clean view 2.",
        ),
        "nnclr": Meaning("ours", f"{_OWN} The queue is the same."),
    }

    as_before: ClassVar[dict[str, Any]] = {"separate_norms": True}

    version: Literal[1] = 1
    epsilon: Positive
    """Size of the attack, in units of normalised pixels (released scripts: 0.03)."""
    weight: NonNegative
    """alpha: weight of the adversarial term, added to the base loss (released: 1)."""
    separate_norms: bool = True
    """Whether attacked images, and the attack itself, have a second set of batch norms, as released. If not, they share the networks'
    own norms and move their running statistics, which evaluations use (ours)."""
    batch_norm_momentum: Annotated[float, Field(gt=0, le=1)] | None
    """Momentum of the second set of batch norms (released: 0.01). It is set to null if there is none."""
    clip: bool
    """Clip attacked pixels to the valid range. Released: off, so images may leave it."""
    attack_updates_norms: bool
    """Whether the attack's own forward passes on clean images update the running statistics of the norms that it uses.
    Released: yes, so two thirds of the second norms' inputs are clean."""

    def under(self, base: type[Method]) -> Self:
        """Without a momentum of the second set of batch norms if there is none."""
        return self if self.separate_norms else self.model_copy(update={"batch_norm_momentum": None})

    def problem(self, base: type[Method], batch_size: int, images: int | None, data: str) -> Problem | None:
        """A second set of batch norms without a momentum."""
        if self.separate_norms and self.batch_norm_momentum is None:
            words = "null, but the second set of batch norms needs one; write a number, or separate_norms: false"
            return Problem("strategies.clae.batch_norm_momentum", words)
        return None

    @classmethod
    def passes(cls, base: type[Method]) -> float:
        """The adversarial view, forward and backward, preceded by the attack: forward, and backward to the image."""
        return 3 + 2

    @classmethod
    def kept(cls, base: type[Method]) -> float:
        """The adversarial view, or the attack that precedes it."""
        return 1
