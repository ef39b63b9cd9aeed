"""CLAE (arXiv 2010.12050): a third view, perturbed to increase the contrastive loss, with batch norms of its own."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sslpairs.config.recipes import CLAE as Settings
from sslpairs.methods.base import BaseMethod
from sslpairs.pairs.base import Pairs, Step


def attack(x: Tensor, loss: Callable[[Tensor], Tensor], epsilon: float) -> Tensor:
    """One step of the fast gradient sign method, upwards: ``x + epsilon * sign(d loss / d x)``, without clipping.

    ``x`` is ``[N, C, H, W]`` in normalised pixels; ``loss`` maps such a batch to a scalar. Gradients of parameters are
    left alone. The result is a constant.
    """
    start = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(start), start)
    return (x + epsilon * gradient.sign()).detach()


class TwoNorms(nn.Module):
    """A batch norm and its adversarial twin, each with statistics and affine parameters of its own."""

    def __init__(self, main: _BatchNorm, momentum: float):
        super().__init__()
        self.main = main
        self.adversarial = copy.deepcopy(main)
        self.adversarial.momentum = momentum
        self.use_adversarial = False

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.adversarial(x) if self.use_adversarial else self.main(x)


def double_norms(module: nn.Module, momentum: float) -> None:
    """Give every batch norm inside a twin."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, TwoNorms(child, momentum))
        else:
            double_norms(child, momentum)


@contextmanager
def adversarial_norms(method: nn.Module) -> Iterator[None]:
    """Inside, every ``TwoNorms`` uses its adversarial twin."""
    twins = [module for module in method.modules() if isinstance(module, TwoNorms)]
    for twin in twins:
        twin.use_adversarial = True
    try:
        yield
    finally:
        for twin in twins:
            twin.use_adversarial = False


def main_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A network's weights with the main norms only, under the names that they have without CLAE."""
    kept = {key: value for key, value in state.items() if ".adversarial." not in key}
    return {key.replace(".main.", "."): value for key, value in kept.items()}


class CLAE(Pairs):
    """Adds the loss between clean view 1 and its adversarial version (released code: CLAE SimCLR/main.py:48-61)."""

    name = "clae"

    def __init__(self, settings: Settings):
        self.settings = settings

    def wrap(self, method: BaseMethod) -> None:
        """Second norms for the online networks; momentum encoders never see an adversarial image."""
        for module in method.online_modules():
            double_norms(module, self.settings.batch_norm_momentum)

    def perturb(self, step: Step) -> Tensor:
        """The attack on view 1: against the base loss alone, everything in the adversarial norms, in float32.

        Only the second argument is differentiated; the first is the same image, embedded apart.
        """
        x = step.xs[0]
        with adversarial_norms(step.method), torch.autocast(x.device.type, enabled=False):
            with torch.no_grad():
                anchor = step.method.embed(x)
            other = step.clean[1]

            def loss(candidate: Tensor) -> Tensor:
                return step.method.adversarial_loss(step.method.embed(candidate), anchor, other)

            return attack(x, loss, self.settings.epsilon)

    def term(self, step: Step) -> tuple[Tensor, float]:
        """The base loss between the clean view in the main norms and the adversarial one in its own."""
        x = self.perturb(step)
        with adversarial_norms(step.method):
            adversarial = step.method.embed(x)
        return step.method.adversarial_loss(adversarial, step.clean[0], step.clean[1]), self.settings.weight
