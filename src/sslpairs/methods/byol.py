"""BYOL (Grill et al. 2020, arXiv 2006.07733): predict the momentum encoder's projection of the other view.

Built on lightly's NegativeCosineSimilarity; the scale is solo-learn's, four times that of lightly's examples (and 4 higher),
because DimCL's weight refers to it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor, nn

from sslpairs.methods.base import BaseMethod, Clock, Emb, head
from sslpairs.methods.momentum import cosine_momentum, follow, follower_of


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
        self.target_backbone = follower_of(backbone)
        self.target_projector = follower_of(self.projector)

    def online_modules(self) -> list[nn.Module]:  # noqa: D102
        return [self.backbone, self.projector, self.predictor]

    def embed(self, x: Tensor) -> Emb:  # noqa: D102
        h = self.backbone(x)
        z = self.projector(h)
        return Emb(h=h, z=z, p=self.predictor(z))

    def views(self, xs: Sequence[Tensor], mixed: Sequence[Tensor | None]) -> tuple[list[Emb], list[Emb | None]]:
        """Both networks see both views; mixed images pass through the online network only."""
        online, extra = super().views(xs, mixed)
        with torch.no_grad():
            targets = [self.target_projector(self.target_backbone(x)) for x in xs]
        return [Emb(h=e.h, z=e.z, p=e.p, t=t) for e, t in zip(online, targets, strict=True)], extra

    def pair_loss(self, a: Emb, b: Emb) -> Tensor:  # noqa: D102
        return byol_loss(a.p, b.p, a.t, b.t)

    def per_sample_loss(self, a: Emb, b: Emb) -> Tensor:  # noqa: D102
        return 2 - 2 * F.cosine_similarity(a.p, b.t, dim=1)

    def adversarial_loss(self, adversarial: Emb, anchor: Emb, other: Emb) -> Tensor:
        """Ours: the adversarial image passes through the online network only and predicts the clean other view."""
        return self.per_sample_loss(adversarial, other).mean()

    def after_step(self, clean: Sequence[Emb], clock: Clock) -> None:
        """The target follows the online network; buffers are not updated."""
        momentum = cosine_momentum(*self.settings.momentum, clock.progress)
        follow(self.target_backbone, self.backbone, momentum)
        follow(self.target_projector, self.projector, momentum)
