"""The ``knn`` protocol: weighted vote of the nearest training images by cosine similarity of the features."""

from typing import ClassVar, Literal

from sslpairs.config.base import Count, Positive
from sslpairs.config.protocols.base import TOP1, TOP5, Protocol, Quantity


class KNNSettings(Protocol):
    """Settings of ``evaluation/knn.py``."""

    title: ClassVar[str] = "kNN"
    about: ClassVar[str] = "weighted vote of the nearest training images on frozen features"
    metrics: ClassVar[dict[str, Quantity]] = {"top1": TOP1, "top5": TOP5}

    version: Literal[1] = 1
    neighbours: Count
    temperature: Positive

    def problem(self, training_images: int) -> tuple[str, str] | None:
        """More neighbours than training images."""
        if self.neighbours <= training_images:
            return None
        return "neighbours", f"{self.neighbours:,} exceeds the {training_images:,} training images"

    def seconds(self, training_images: int, test_images: int) -> float:
        """Time to compute the similarities."""
        return 1e-9 * training_images * test_images
