"""What all base methods have in common."""

from typing import Any, ClassVar

from sslpairs.config.base import Model
from sslpairs.config.meaning import Meaning
from sslpairs.config.networks import Head
from sslpairs.config.optimization import TrainingChange


class Method(Model):
    """What every base method's settings hold."""

    title: ClassVar[str]
    """What tables print."""
    softmax: ClassVar[bool] = True
    """Whether the loss is a cross entropy with a temperature."""
    views: ClassVar[int] = 2
    """Large views that the online network sees in a step, forwards and backwards."""
    targets: ClassVar[int] = 0
    """Large views that a momentum encoder sees."""
    directions: ClassVar[int] = 2
    """Views that look for the other one: one where only the first does."""
    codes: ClassVar[bool] = False
    """Whether views predict codes or a teacher's distribution."""
    meanings: ClassVar[dict[str, Meaning]] = {}
    """What the method is under pair strategies whose files do not say so."""

    version: int = 1
    """Raised by a person when the method's code changes its results: its runs then get new ids."""
    projector: Head
    training: TrainingChange | None = None
    strategies: dict[str, dict[str, Any]] = {}
    """Values of pair strategies that are different for this method, for example {mixco: {temperature: 0.05}}."""
