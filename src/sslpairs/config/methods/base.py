"""Base class of the settings of all base methods."""

from typing import Any, ClassVar

from sslpairs.config.base import Model
from sslpairs.config.meaning import Meaning
from sslpairs.config.networks import HeadSettings
from sslpairs.config.optimization import TrainingChange


class Method(Model):
    """Settings of a base method."""

    title: ClassVar[str]
    """Name printed in tables."""
    softmax: ClassVar[bool] = True
    """Whether the loss is a cross-entropy with a temperature."""
    views: ClassVar[int] = 2
    """Large views that pass through the online network in a step, forward and backward."""
    targets: ClassVar[int] = 0
    """Large views that pass through a momentum encoder."""
    directions: ClassVar[int] = 2
    """Number of views that predict the other one: 1 if only the first does."""
    codes: ClassVar[bool] = False
    """Whether views predict cluster codes or a teacher's distribution."""
    meanings: ClassVar[dict[str, Meaning]] = {}
    """Meaning of the method under pair strategies whose own files do not define it."""

    version: int = 1
    """Increased manually when a change to the method's code changes its results: its runs then get new ids."""
    projector: HeadSettings
    training: TrainingChange | None = None
    strategies: dict[str, dict[str, Any]] = {}
    """Values of pair strategies that differ for this method, for example {mixco: {temperature: 0.05}}."""
