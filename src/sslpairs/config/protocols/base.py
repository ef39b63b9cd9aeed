"""Base class of the settings of all evaluation protocols."""

from typing import ClassVar, NamedTuple

from sslpairs.config.base import Model


class Quantity(NamedTuple):
    """A quantity measured by a protocol."""

    title: str
    """Name printed in tables after the protocol's title, as in "linear top-1"."""
    what: str
    """Description with the unit, as in "top-1 accuracy (%)"."""


TOP1 = Quantity("top-1", "top-1 accuracy (%)")
TOP5 = Quantity("top-5", "top-5 accuracy (%)")


class Protocol(Model):
    """Settings of a protocol. Tables refer to its metrics as ``protocol.metric``, such as ``linear.top1``.

    The file of the same name in ``sslpairs.evaluation`` has a function ``measure(settings, encoded)`` that returns the metrics.
    With ``encoded.keep(metric, right)`` it may also keep which test images were answered correctly.
    """

    title: ClassVar[str]
    """Name printed in tables."""
    about: ClassVar[str]
    """One-line description for the notes below a table."""
    metrics: ClassVar[dict[str, Quantity]] = {"top1": TOP1}
    """Metric -> quantity; where only one metric is shown, it is the first."""
    while_training: ClassVar[bool] = False
    """Whether it is measured during training and configured there; only possible on the training's own data."""

    version: int = 1
    """Increased manually when a change to the protocol's code changes its results: it is then measured again."""

    def quantities(self) -> dict[str, Quantity]:
        """``metrics``, with what the settings say."""
        return self.metrics

    def words(self) -> str:
        """``about``, with what the settings say."""
        return self.about

    def problem(self, training_images: int) -> tuple[str, str] | None:
        """Return the key that is invalid for this many training images, and the reason."""

    def seconds(self, training_images: int, test_images: int) -> float:
        """Rough time in seconds on frozen features, on one device."""
        return 1e-6 * (training_images + test_images)
