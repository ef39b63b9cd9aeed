"""BYOL (Grill et al. 2020, arXiv 2006.07733): predict the momentum encoder's projection of the other view.

Built on lightly's NegativeCosineSimilarity; the scale is solo-learn's, four times that of lightly's examples (and 4 higher),
because DimCL's weight refers to it.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor, nn

from sslpairs.methods.base import BaseMethod, Embeddings, TrainProgress, head
from sslpairs.methods.momentum import cosine_momentum, ema_copy, ema_update


def byol_loss(p1: Tensor, p2: Tensor, t1: Tensor, t2: Tensor) -> Tensor:
    """Sum of 2 - 2 cos(p1, t2) and 2 - 2 cos(p2, t1), each a mean over the batch; all ``[N, D]``: a scalar, 0 to 8.

    Gradients flow into all inputs that are not detached; ``BYOL`` passes detached targets.
    """
    negative_cosine = NegativeCosineSimilarity()
    return 4 + 2 * negative_cosine(p1, t2) + 2 * negative_cosine(p2, t1)


class BYOL(BaseMethod):
    """BYOL; its objective is ``byol_loss``."""

    sums_directions = True
    attacks_with_anchor = False

    def __init__(self, settings, backbone: nn.Module, width: int):
        super().__init__(settings, backbone, width)
        self.predictor = head(settings.predictor, settings.projector.output)
        self.target_backbone = ema_copy(backbone)
        self.target_projector = ema_copy(self.projector)

    def online_modules(self) -> list[nn.Module]:  # noqa: D102
        return [self.backbone, self.projector, self.predictor]

    def embed(self, x: Tensor) -> Embeddings:  # noqa: D102
        h = self.backbone(x)
        z = self.projector(h)
        return Embeddings(features=h, projection=z, prediction=self.predictor(z))

    def views(
        self, xs: Sequence[Tensor], mixed: Sequence[Tensor | None]
    ) -> tuple[list[Embeddings], list[Embeddings | None]]:
        """Both networks see both views; mixed images pass through the online network only."""
        online, extra = super().views(xs, mixed)
        with torch.no_grad():
            targets = [self.target_projector(self.target_backbone(x)) for x in xs]
        return [replace(emb, target=target) for emb, target in zip(online, targets, strict=True)], extra

    def pair_loss(self, a: Embeddings, b: Embeddings) -> Tensor:  # noqa: D102
        return byol_loss(a.prediction, b.prediction, a.target, b.target)

    def per_sample_loss(self, a: Embeddings, b: Embeddings) -> Tensor:  # noqa: D102
        return 2 - 2 * F.cosine_similarity(a.prediction, b.target, dim=1)

    def adversarial_loss(self, adversarial: Embeddings, anchor: Embeddings, other: Embeddings) -> Tensor:
        """Ours: the adversarial image passes through the online network only and predicts the clean other view."""
        return self.per_sample_loss(adversarial, other).mean()

    def after_step(self, clean: Sequence[Embeddings], progress: TrainProgress) -> None:
        """Update the target network's moving average; buffers are not updated."""
        momentum = cosine_momentum(*self.settings.momentum, progress.fraction)
        ema_update(self.target_backbone, self.backbone, momentum)
        ema_update(self.target_projector, self.projector, momentum)
