"""UEL (Ye et al. 2019, arXiv 1904.03436): unsupervised embedding by invariant and spreading instance features.

Not in lightly; written from CLAE's copy (CLAE UEL/BatchAverage.py:21-71).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sslpairs.methods.base import BaseMethod, Embeddings


def uel_loss(u1: Tensor, u2: Tensor, temperature: float, m: float = 1.0) -> Tensor:
    """Pull each row to its other view and push it from all others, as probabilities: a scalar; u normalised ``[N, D]``.

    With s_ij = exp(X_i . X_j / T) over the 2N rows of both views and Z_i = s_i,pos + m * (sum of the other s_ij):
    ``-(1/2N) sum_i [log(s_i,pos / Z_i) + m * sum_j log(1 - s_ij / Z_i)]``, j neither i nor its positive. Every inner
    product has its gradient in the first factor only. Computed in at least float32.
    """
    x = torch.cat([u1, u2])
    x = x if x.dtype == torch.float64 else x.float()
    count = len(x)
    rows = torch.arange(count, device=x.device)
    positives = rows.roll(count // 2)
    logits = x @ x.detach().T / temperature
    own = rows == rows[:, None]
    no_negative = own | (rows == positives[:, None])
    weight = torch.full_like(logits, m).masked_fill(no_negative, 1.0)
    logs = logits - torch.logsumexp((logits + weight.log()).masked_fill(own, -torch.inf), 1, keepdim=True)
    # A share may round to 1 (or exceed it if m is below 1), and log(1 - P) would be infinite or NaN.
    shares = logs.masked_fill(no_negative, -torch.inf).exp().clamp(max=1 - torch.finfo(x.dtype).eps)
    return -(logs[rows, positives].sum() + m * torch.log1p(-shares).sum()) / count


class UEL(BaseMethod):
    """UEL; its objective is ``uel_loss`` on unit projections."""

    def pair_loss(self, a: Embeddings, b: Embeddings) -> Tensor:  # noqa: D102
        u1, u2 = F.normalize(a.projection, dim=1), F.normalize(b.projection, dim=1)
        return uel_loss(u1, u2, self.settings.temperature, self.settings.m)

    def contrast(self, mixed: Embeddings, other: Embeddings, view: int) -> tuple[Tensor, Tensor, None]:
        """Ours: as in ``uel_loss``, the gradient flows into the first factor only."""
        return mixed.projection, other.projection.detach(), None
