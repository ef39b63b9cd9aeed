"""Cross entropy between codes and prototype scores, which SwAV, DINO and MixCo's mixed codes share."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sslpairs.methods.base import Emb


def code_loss(codes: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """``-sum_k q_k log softmax(s / T)_k``, mean over the batch; codes and scores ``[N, K]``: a scalar.

    In one log-softmax, so that small temperatures give no NaN (lightly's ``SwaVLoss.subloss`` is the same).
    """
    return -(codes * F.log_softmax(scores / temperature, dim=1)).sum(1).mean()


def swapped_loss(clean: Sequence[Emb], temperature: float) -> Tensor:
    """Mean of ``code_loss`` over the codes of both large views and, for each, the scores of all other views: a scalar."""
    terms = [
        code_loss(clean[coded].q, emb.s, temperature)
        for coded in (0, 1)
        for view, emb in enumerate(clean)
        if view != coded
    ]
    return torch.stack(terms).mean()
