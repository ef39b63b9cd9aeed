"""SwAV: views predict the cluster codes of each other."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sslpairs.config.base import Count, Positive, Width
from sslpairs.config.methods.base import Method
from sslpairs.config.views import SmallCrops


class SwAVSettings(Method):
    """Settings of ``methods/swav.py``."""

    title: ClassVar[str] = "SwAV"
    codes: ClassVar[bool] = True

    version: Literal[1] = 1
    prototypes: Width
    temperature: Positive
    epsilon: Positive
    """Epsilon of Sinkhorn's algorithm: smaller values give sharper codes."""
    iterations: Count
    """Iterations of Sinkhorn's algorithm."""
    queue: Count | None
    """Number of projections of earlier batches used to compute the codes; null for none."""
    queue_from_epoch: Annotated[int, Field(ge=0, le=1_000_000)]
    """Epoch (counted from 0) from which the queue is filled; it is used once it is full."""
    freeze_steps: Annotated[int, Field(ge=0, le=1_000_000)]
    """Steps during which the prototypes are frozen."""
    small: SmallCrops | None
