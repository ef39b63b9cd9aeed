"""The ``few_labels`` protocol: a ridge classifier on frozen features of few labelled training images."""

from typing import ClassVar, Literal

from sslpairs.config.base import Count, Fraction, Positive
from sslpairs.config.protocols.base import Protocol, Quantity


class FewLabelsSettings(Protocol):
    """Settings of ``evaluation/few_labels.py``. The metrics have the names of the two numbers of labels."""

    title: ClassVar[str] = "few labels"
    about: ClassVar[str] = "ridge classifier in closed form on frozen features of few labelled images"
    metrics: ClassVar[dict[str, Quantity]] = {
        "per_class": Quantity("n a class", "top-1 accuracy with n labels a class (%)"),
        "share": Quantity("a share", "top-1 accuracy with a share of the labels (%)"),
    }

    version: Literal[1] = 1
    per_class: Count = 1
    """Labelled images of each class."""
    share: Fraction = 0.1
    """Of the labelled images of each class; at least one."""
    draws: Count = 20
    """Means are over this many draws of the labelled images, which are the same for all encoders."""
    penalty: Positive = 0.1
    """On the squared weights, for each dimension of the features."""

    def quantities(self) -> dict[str, Quantity]:
        """With the numbers of labels."""
        share, labels = f"{100 * self.share:g} %", "label" if self.per_class == 1 else "labels"
        per_class = Quantity(f"{self.per_class} a class", f"top-1 accuracy with {self.per_class} {labels} a class (%)")
        return {
            "per_class": per_class,
            "share": Quantity(share, f"top-1 accuracy with {share} of the labels (%)"),
        }

    def words(self) -> str:
        """With the number of draws."""
        return f"{self.about}, mean over {self.draws} draws shared by all encoders"

    def seconds(self, training_images: int, test_images: int) -> float:
        """Products of the labelled images' features, and predictions."""
        return self.draws * (4e-6 * self.share * training_images + 1e-6 * test_images)
