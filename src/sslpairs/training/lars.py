"""LARS (You et al. 2017, arXiv 1708.03888) with solo-learn's two options, which DimCL's and GPS's recipes use.

Lightly's LARS has neither the clipping nor the choice by shape instead of by weight decay, so it is written here
(SOLO utils/lars.py is the reference for what they mean).
"""

from collections.abc import Iterable

import torch
from torch import nn


class LARS(torch.optim.Optimizer):
    """SGD with momentum whose rate is adapted for each parameter.

    A parameter of more than one dimension (any, with ``adapt_vectors``) is decayed, and its gradient g + wd * w multiplied
    by ``eta * |w| / (|g| + wd * |w|)``, where both norms are positive; with ``clip``, by at most what makes the rate ``lr``.
    """

    def __init__(
        self,
        parameters: Iterable,
        lr: float,
        momentum: float,
        weight_decay: float,
        trust_coefficient: float,
        clip: bool,
        adapt_vectors: bool,
    ):
        super().__init__(
            parameters,
            {
                "lr": lr,
                "momentum": momentum,
                "weight_decay": weight_decay,
                "trust_coefficient": trust_coefficient,
                "clip": clip,
                "adapt_vectors": adapt_vectors,
            },
        )

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One update; no closure is used."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            for p in moved:
                change = self._change(p, group)
                buffer = self.state[p].get("momentum_buffer")
                if buffer is None:
                    buffer = self.state[p]["momentum_buffer"] = change.clone()
                else:
                    buffer.mul_(group["momentum"]).add_(change)
                p.sub_(buffer, alpha=group["lr"])

    def _change(self, p: nn.Parameter, group: dict) -> torch.Tensor:
        if p.ndim == 1 and not group["adapt_vectors"]:
            return p.grad
        weight, slope = p.norm(), p.grad.norm()
        decay = group["weight_decay"]
        ratio = group["trust_coefficient"] * weight / (slope + decay * weight + 1e-8)
        if group["clip"]:
            ratio = (ratio / group["lr"]).clamp(max=1) if group["lr"] else torch.ones_like(ratio)
        adapted = (p.grad + decay * p) * ratio
        # On the device, without waiting: a parameter or a gradient of zero is left as it is.
        return torch.where((weight > 0) & (slope > 0), adapted, p.grad)
