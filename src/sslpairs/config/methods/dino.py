"""DINO: a student learns a momentum teacher's outputs."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sslpairs.config.base import Fraction, Momentum, Positive, Width
from sslpairs.config.methods.base import Method
from sslpairs.config.views import SmallCrops


class DINOSettings(Method):
    """Settings of ``methods/dino.py``. The projector's output is the bottleneck."""

    title: ClassVar[str] = "DINO"
    targets: ClassVar[int] = 2
    codes: ClassVar[bool] = True

    version: Literal[1] = 1
    prototypes: Width
    """Width of the last layer."""
    norm_last_layer: bool
    """Keep the last layer's weight vectors at norm 1."""
    temperature: Positive
    """Temperature of the student."""
    teacher_temperature: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    """Temperature of the teacher: first and last value."""
    teacher_warmup_epochs: Annotated[int, Field(ge=0, le=1_000_000)]
    """Epochs over which the teacher temperature goes linearly from the first to the last value."""
    center_momentum: Fraction
    momentum: Momentum
    """Momentum of the teacher: first and last value, cosine in between."""
    freeze_epochs: Annotated[int, Field(ge=0, le=1_000_000)]
    """Epochs during which the last layer is frozen."""
    clip: Positive | None
    """Maximum gradient norm of each parameter of the backbone; null for no limit."""
    small: SmallCrops | None
