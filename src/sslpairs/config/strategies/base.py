"""What all pair strategies have in common."""

from typing import ClassVar, NamedTuple, Self

from sslpairs.config.base import Model
from sslpairs.config.meaning import Meaning
from sslpairs.config.methods.base import Method


class Problem(NamedTuple):
    """Why a strategy's settings cannot work."""

    key: str
    """Of the recipe, or ``batch_sizes`` of the scale."""
    text: str


class Strategy(Model):
    """What every pair strategy's settings hold."""

    title: ClassVar[str]
    """What tables print."""
    order: ClassVar[int]
    """Place in the order of composition: sources of views first, then inputs, then the loss."""
    meanings: ClassVar[dict[str, Meaning]] = {}
    """Base method -> what it is under this strategy."""
    otherwise: ClassVar[Meaning | None] = None
    """The meaning with base methods that are not among ``meanings``."""
    together: ClassVar[int] = 1
    """Images of a batch that one process must have together."""
    lengthens: ClassVar[bool] = False
    """Whether there are more pairs than images, how many is only known once they are made."""

    version: int = 1

    @classmethod
    def guided(cls) -> bool:
        """Whether it looks for images that are alike, by a guide."""
        return "guide" in cls.model_fields

    @classmethod
    def passes(cls, base: type[Method]) -> float:
        """Forward passes of the networks that it adds for each image of a batch; a pass backwards counts as two."""
        return 0.0

    @classmethod
    def kept(cls, base: type[Method]) -> float:
        """Images that it adds, for each image of a batch, to those kept for the backward pass."""
        return 0.0

    @classmethod
    def unused(cls, key: str, base: type[Method]) -> str | None:
        """Why a value has no place under a base method; None where it has one."""
        return None

    def under(self, base: type[Method]) -> Self:
        """The settings, with null for values that have no place under a base method."""
        return self

    def problem(self, base: type[Method], batch_size: int, images: int | None, data: str) -> Problem | None:
        """Why a training cannot work: ``images`` is how many the data set, ``data`` in words, has, where that is known."""
        return None
