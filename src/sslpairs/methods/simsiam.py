"""SimSiam (Chen and He 2021, arXiv 2011.10566): predict the other view's projection, with a stop-gradient on it.

Lightly's loss, and the heads of solo-learn and lightly, which agree (the projector ends in a batch norm without learnable
parameters). DimCL's released code standardises the projections once more before they are predicted and compared, which
``second_norm`` reproduces; DimCL itself then sees them before that.
"""

import torch.nn.functional as F
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor, nn

from sslpairs.distributed.batch_norm import standardise
from sslpairs.methods.base import BaseMethod, Embeddings, head


def simsiam_loss(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    """Mean of -cos(p1, z2) and -cos(p2, z1), no gradient into z; all ``[N, D]``: a scalar, -1 to 1."""
    negative_cosine = NegativeCosineSimilarity()
    return (negative_cosine(p1, z2.detach()) + negative_cosine(p2, z1.detach())) / 2


class SimSiam(BaseMethod):
    """SimSiam; its objective is ``simsiam_loss``."""

    attacks_with_anchor = False

    def __init__(self, settings, backbone: nn.Module, width: int):
        super().__init__(settings, backbone, width)
        self.predictor = head(settings.predictor, settings.projector.output)

    def online_modules(self) -> list[nn.Module]:  # noqa: D102
        return [self.backbone, self.projector, self.predictor]

    def constant_rate_modules(self) -> list[nn.Module]:  # noqa: D102
        return [self.predictor] if self.settings.constant_predictor_rate else []

    def embed(self, x: Tensor) -> Embeddings:
        """The projection is the raw one; the target is what is predicted and compared."""
        h = self.backbone(x)
        z = t = self.projector(h)
        if self.settings.second_norm:
            t = standardise(z)
        return Embeddings(features=h, projection=z, prediction=self.predictor(t), target=t.detach())

    def pair_loss(self, a: Embeddings, b: Embeddings) -> Tensor:  # noqa: D102
        return simsiam_loss(a.prediction, b.prediction, a.target, b.target)

    def per_sample_loss(self, a: Embeddings, b: Embeddings) -> Tensor:  # noqa: D102
        return -F.cosine_similarity(a.prediction, b.target, dim=1)

    def adversarial_loss(self, adversarial: Embeddings, anchor: Embeddings, other: Embeddings) -> Tensor:
        """Ours: the adversarial image predicts the clean other view."""
        return self.per_sample_loss(adversarial, other).mean()
