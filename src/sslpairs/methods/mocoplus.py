"""MoCo v2+: ``MoCo`` in both directions, with two queues, as in DimCL's released code."""

from collections.abc import Sequence

from torch import Tensor

from sslpairs.methods.base import Embeddings, TrainProgress
from sslpairs.methods.moco import MoCo


class MoCoPlus(MoCo):
    """MoCo v2+: each view gives queries and keys, with its own queue of keys; the mean of both directions."""

    queries = (0, 1)
    mixed_views = (0, 1)

    def before_step(self, progress: TrainProgress) -> None:
        """No-op: the key encoder is updated after the step."""

    def pair_loss(self, a: Embeddings, b: Embeddings) -> Tensor:  # noqa: D102
        return (self._queue_loss(a, b, 1) + self._queue_loss(b, a, 0)) / 2

    def after_step(self, clean: Sequence[Embeddings], progress: TrainProgress) -> None:
        """Update the queues, then the key encoder."""
        super().after_step(clean, progress)
        self._update_key_encoder(progress)
