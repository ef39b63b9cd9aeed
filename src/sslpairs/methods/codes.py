"""Methods whose views predict codes (SwAV and DINO): prototype assignments, compared by cross entropy."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sslpairs.methods.base import BaseMethod, Embeddings


def code_loss(codes: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """``-sum_k q_k log softmax(s / T)_k``, mean over the batch; codes and scores ``[N, K]``: a scalar.

    One log-softmax, so that small temperatures give no NaN (lightly's ``SwaVLoss.subloss`` is the same).
    """
    return -(codes * F.log_softmax(scores / temperature, dim=1)).sum(1).mean()


class CodeMethod(BaseMethod):
    """A method whose embeddings have codes for the two large views, and scores for all."""

    attacks_with_anchor = False

    def __init__(self, settings, backbone, width: int):
        super().__init__(settings, backbone, width)
        self.small = settings.small

    def loss(self, clean: Sequence[Embeddings]) -> Tensor:
        """Mean of ``code_loss`` over the codes of both large views and, for each, the scores of all other views."""
        terms = [
            code_loss(clean[coded].codes, emb.scores, self.settings.temperature)
            for coded in (0, 1)
            for view, emb in enumerate(clean)
            if view != coded
        ]
        return torch.stack(terms).mean()

    def pair_loss(self, a: Embeddings, b: Embeddings) -> Tensor:  # noqa: D102
        return self.loss([a, b])

    def adversarial_loss(self, adversarial: Embeddings, anchor: Embeddings, other: Embeddings) -> Tensor:
        """Ours: the adversarial image predicts the codes of the clean other view."""
        return code_loss(other.codes, adversarial.scores, self.settings.temperature)
