"""What all protocols have in common."""

from typing import ClassVar, NamedTuple

from sslpairs.config.base import Model


class Quantity(NamedTuple):
    """One of the numbers that a protocol measures."""

    title: str
    """What tables print beside the protocol's title, as in "linear top-1"."""
    what: str
    """What is measured, with its unit, as in "top-1 accuracy (%)"."""


TOP1 = Quantity("top-1", "top-1 accuracy (%)")
TOP5 = Quantity("top-5", "top-5 accuracy (%)")


class Protocol(Model):
    """What every protocol's settings hold. Its metrics stand in tables as ``protocol.metric``, such as ``linear.top1``.

    The file of the same name in ``sslpairs.evaluation`` has a function ``measure(settings, encoded)``, which returns them.
    """

    title: ClassVar[str]
    """What tables print."""
    about: ClassVar[str]
    """What it does, for the notes below a table."""
    metrics: ClassVar[dict[str, Quantity]] = {"top1": TOP1}
    """The first one is shown where only one is."""
    while_training: ClassVar[bool] = False
    """Whether it is measured beside a training and has its settings there: on the training's own data only."""

    version: int = 1
    """Raised by a person when the protocol's code changes its results: it is then measured anew."""

    def problem(self, training_images: int) -> tuple[str, str] | None:
        """The key that cannot be with so many training images, and why."""

    def seconds(self, training_images: int, test_images: int) -> float:
        """What it takes on frozen features, roughly, on one device."""
        return 1e-6 * (training_images + test_images)
