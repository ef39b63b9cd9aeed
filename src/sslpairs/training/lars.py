"""LARS (You et al. 2017, arXiv 1708.03888) with solo-learn's two options, which DimCL's and GPS's recipes use.

Lightly's LARS has neither the clipping nor the choice by shape instead of by weight decay, so it is implemented here
(SOLO utils/lars.py is the reference for both options).
"""

from collections.abc import Iterable

import torch
from torch import nn


class LARS(torch.optim.Optimizer):
    """SGD with momentum with a separately adapted rate for each parameter.

    A parameter of more than one dimension (any, with ``adapt_vectors``) is decayed, and its gradient g + wd * w multiplied
    by ``eta * |w| / (|g| + wd * |w|)`` if both norms are positive; with ``clip``, at most by the factor that makes the rate ``lr``.
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
        """One update; ``closure`` is ignored. Does not wait for the device."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            adapted = [p for p in moved if p.ndim > 1 or group["adapt_vectors"]]
            changes = {id(p): p.grad for p in moved}
            if adapted:
                changes |= zip(map(id, adapted), self._adapted(adapted, group), strict=True)
            known = [p for p in moved if "momentum_buffer" in self.state[p]]
            buffers = [self.state[p]["momentum_buffer"] for p in known]
            if known:
                torch._foreach_mul_(buffers, group["momentum"])
                torch._foreach_add_(buffers, [changes[id(p)] for p in known])
            for p in moved:
                if "momentum_buffer" not in self.state[p]:
                    self.state[p]["momentum_buffer"] = changes[id(p)].clone()
            torch._foreach_sub_(moved, [self.state[p]["momentum_buffer"] for p in moved], alpha=group["lr"])

    def _adapted(self, parameters: list[nn.Parameter], group: dict) -> list[torch.Tensor]:
        grads = [p.grad for p in parameters]
        weight_norm, grad_norm = (torch.stack(torch._foreach_norm(values)) for values in (parameters, grads))
        decay = group["weight_decay"]
        ratio = group["trust_coefficient"] * weight_norm / (grad_norm + decay * weight_norm + 1e-8)
        if group["clip"]:
            ratio = (ratio / group["lr"]).clamp(max=1) if group["lr"] else torch.ones_like(ratio)
        # A parameter or a gradient of zero is not adapted.
        there = (weight_norm > 0) & (grad_norm > 0)
        changes = torch._foreach_mul(grads, torch.where(there, ratio, 1).unbind())
        decays = torch._foreach_mul(parameters, torch.where(there, ratio * decay, 0).unbind())
        torch._foreach_add_(changes, decays)
        return changes
