"""Cross entropy between codes and prototype scores, which SwAV, DINO and MixCo's mixed codes share."""

import torch.nn.functional as F
from torch import Tensor


def code_loss(codes: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """``-sum_k q_k log softmax(s / T)_k``, mean over the batch; codes and scores ``[N, K]``: a scalar.

    In one log-softmax, so that small temperatures give no NaN (lightly's ``SwaVLoss.subloss`` is the same).
    """
    return -(codes * F.log_softmax(scores / temperature, dim=1)).sum(1).mean()
