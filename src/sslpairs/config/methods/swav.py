"""SwAV: views predict the cluster codes of each other."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sslpairs.config.base import Count, Positive, Width
from sslpairs.config.methods.base import Method
from sslpairs.config.views import SmallCrops


class SwAV(Method):
    """Settings of ``methods/swav.py``."""

    title: ClassVar[str] = "SwAV"
    codes: ClassVar[bool] = True

    version: Literal[1] = 1
    prototypes: Width
    temperature: Positive
    epsilon: Positive
    """Of Sinkhorn's algorithm: smaller gives sharper codes."""
    iterations: Count
    """Of Sinkhorn's algorithm."""
    queue: Count | None
    """Projections of earlier batches that take part in making the codes; null for none."""
    queue_from_epoch: Annotated[int, Field(ge=0, le=1_000_000)]
    """Epoch, counted from 0, from which on the queue is filled; it is used once it is full."""
    freeze_steps: Annotated[int, Field(ge=0, le=1_000_000)]
    """Steps in which the prototypes do not learn."""
    small: SmallCrops | None
