"""NNCLR (Dwibedi et al. 2021, arXiv 2104.14548): the positive is the nearest neighbour of the other view in a queue.

The loss is solo-learn's: each neighbour against the predictions of one view, N columns. Lightly's NTXentLoss has 2N - 1
columns and other values (3.268 versus 3.961 on one random batch), and its bank is not in checkpoints; both are our own.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslpairs.methods.base import BaseMethod, Embeddings, TrainProgress, head
from sslpairs.methods.queues import enqueue


def neighbour_contrast(neighbours: Tensor, predictions: Tensor, temperature: float) -> Tensor:
    """Cross entropy of each neighbour with its own prediction among all N: a scalar; both raw ``[N, D]``."""
    logits = F.normalize(neighbours, dim=1) @ F.normalize(predictions, dim=1).T / temperature
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


class NNCLR(BaseMethod):
    """NNCLR: the mean of ``neighbour_contrast`` in both directions. ``queue`` ``[K, D]`` holds normalised projections."""

    def __init__(self, settings, backbone: nn.Module, width: int):
        super().__init__(settings, backbone, width)
        self.predictor = head(settings.predictor, settings.projector.output)
        self.register_buffer("queue", F.normalize(torch.randn(settings.queue, settings.projector.output), dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long))

    def online_modules(self) -> list[nn.Module]:  # noqa: D102
        return [self.backbone, self.projector, self.predictor]

    def embed(self, x: Tensor) -> Embeddings:
        """The target is each projection's nearest neighbour in the queue."""
        h = self.backbone(x)
        z = self.projector(h)
        return Embeddings(features=h, projection=z, prediction=self.predictor(z), target=self._neighbours(z))

    @torch.no_grad()
    def _neighbours(self, z: Tensor) -> Tensor:
        unit = F.normalize(z.detach().to(self.queue.dtype), dim=1)
        with torch.autocast(z.device.type, enabled=False):
            return self.queue[(unit @ self.queue.T).argmax(1)]

    def pair_loss(self, a: Embeddings, b: Embeddings) -> Tensor:  # noqa: D102
        temperature = self.settings.temperature
        return (
            neighbour_contrast(a.target, b.prediction, temperature)
            + neighbour_contrast(b.target, a.prediction, temperature)
        ) / 2

    def contrast(self, mixed: Embeddings, other: Embeddings, view: int) -> tuple[Tensor, Tensor, None]:
        """Ours: predictions of the mixed images against the neighbours of the other view."""
        return mixed.prediction, other.target, None

    @torch.no_grad()
    def after_step(self, clean: Sequence[Embeddings], progress: TrainProgress) -> None:
        """Projections of view 1 replace the oldest ones (SOLO nnclr.py, ``dequeue_and_enqueue``)."""
        enqueue(self.queue, self.oldest, F.normalize(clean[0].projection, dim=1))
