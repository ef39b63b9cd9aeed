"""Base class of the settings of all pair strategies."""

from typing import Any, ClassVar, NamedTuple, Self

from sslpairs.config.base import Model
from sslpairs.config.meaning import Meaning
from sslpairs.config.methods.base import Method


class Problem(NamedTuple):
    """Why a strategy's settings are invalid."""

    key: str
    """Key in the recipe, or ``batch_sizes`` of the scale."""
    text: str


class Strategy(Model):
    """Settings of a pair strategy."""

    title: ClassVar[str]
    """Name printed in tables."""
    order: ClassVar[int]
    """Position in the order of composition: sources of views first, then inputs, then the loss."""
    meanings: ClassVar[dict[str, Meaning]] = {}
    """Base method -> its meaning under this strategy."""
    otherwise: ClassVar[Meaning | None] = None
    """Meaning for base methods that are not in ``meanings``."""
    as_before: ClassVar[dict[str, Any]] = {}
    """Values of settings added later for which a run trains as it did before: such a value is not part of its id."""
    together: ClassVar[int] = 1
    """Images of a batch that must be on the same process."""
    lengthens: ClassVar[bool] = False
    """Whether there are more pairs than images; the number is known only after mining."""

    version: int = 1

    @classmethod
    def guided(cls) -> bool:
        """Whether it uses a guide to find similar images."""
        return "guide" in cls.model_fields

    @classmethod
    def passes(cls, base: type[Method]) -> float:
        """Forward passes of the networks that it adds per image of a batch; a backward pass counts as two."""
        return 0.0

    @classmethod
    def kept(cls, base: type[Method]) -> float:
        """Images that it adds, per image of a batch, to those kept for the backward pass."""
        return 0.0

    @classmethod
    def unused(cls, key: str, base: type[Method]) -> str | None:
        """Return why a value does not apply under a base method, or None if it does."""
        return None

    def under(self, base: type[Method]) -> Self:
        """Return the settings with null for values that do not apply under a base method."""
        return self

    def problem(self, base: type[Method], batch_size: int, images: int | None, data: str) -> Problem | None:
        """Return why a training cannot work, or None. ``images`` is the number of images of the data set, if known; ``data`` names it."""
        return None
