"""How checkpoints are evaluated; the ``online`` protocol belongs to the training."""

from typing import Literal

from pydantic import model_validator

from sslpairs.config.base import Count, Model, Positive
from sslpairs.config.optimization import Optimizer, Schedule


class Linear(Model):
    """The ``linear`` protocol: a linear layer trained on frozen features of un-augmented images."""

    version: Literal[1] = 1
    epochs: Count
    batch_size: Count
    optimizer: Optimizer
    schedule: Schedule
    standardize: bool
    """Bring every feature to mean 0 and variance 1 over the training images first."""

    @model_validator(mode="after")
    def _warms_up(self):
        if self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"{self.epochs} epochs leave nothing after a warm-up of {self.schedule.warmup_epochs}; lengthen the one or shorten "
                "the other"
            )
        return self


class KNN(Model):
    """The ``knn`` protocol: weighted vote of the nearest training images, cosine similarity of the features."""

    version: Literal[1] = 1
    neighbours: Count
    temperature: Positive


class Protocols(Model):
    """How checkpoints are evaluated; the ``online`` protocol belongs to the training."""

    linear: Linear
    knn: KNN
