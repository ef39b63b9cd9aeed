"""MoCo v2+: ``MoCo`` in both directions, with two queues, as in DimCL's released code."""

from collections.abc import Sequence

from torch import Tensor

from sslpairs.methods.base import Clock, Emb
from sslpairs.methods.moco import MoCo


class MoCoPlus(MoCo):
    """MoCo v2+: each view gives queries and keys, with its own queue of keys; the mean of both directions."""

    queries = (0, 1)
    mixed_views = (0, 1)

    def before_step(self, clock: Clock) -> None:
        """No-op: the key encoder is updated after the step."""

    def pair_loss(self, a: Emb, b: Emb) -> Tensor:  # noqa: D102
        return (self._contrast(a, b, 1) + self._contrast(b, a, 0)) / 2

    def after_step(self, clean: Sequence[Emb], clock: Clock) -> None:
        """Update the queues, then the key encoder."""
        super().after_step(clean, clock)
        self._follow(clock)
