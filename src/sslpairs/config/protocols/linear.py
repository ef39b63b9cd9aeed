"""The ``linear`` protocol: a linear layer trained on frozen features of un-augmented images."""

from typing import ClassVar, Literal

from pydantic import model_validator

from sslpairs.config.base import Count
from sslpairs.config.optimization import OptimizerSettings, Schedule
from sslpairs.config.protocols.base import TOP1, TOP5, Protocol, Quantity


class LinearSettings(Protocol):
    """Settings of ``evaluation/linear.py``."""

    title: ClassVar[str] = "linear"
    about: ClassVar[str] = "linear layer trained on frozen features after the training"
    metrics: ClassVar[dict[str, Quantity]] = {"top1": TOP1, "top5": TOP5}

    version: Literal[1] = 1
    epochs: Count
    batch_size: Count
    optimizer: OptimizerSettings
    schedule: Schedule
    standardize: bool
    """First standardise every feature to mean 0 and variance 1 over the training images."""

    @model_validator(mode="after")
    def _warms_up(self):
        if self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"{self.epochs} epochs leave nothing after a warm-up of {self.schedule.warmup_epochs}; increase epochs or "
                "shorten the warm-up"
            )
        return self

    def seconds(self, training_images: int, test_images: int) -> float:
        """Time of its steps, and of shuffling the rows every epoch."""
        return self.epochs * training_images * (1e-3 / self.batch_size + 2e-7)
