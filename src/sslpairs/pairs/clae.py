"""CLAE (arXiv 2010.12050): a third view, perturbed to increase the contrastive loss, with batch norms of its own or not."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sslpairs.config.strategies.clae import CLAESettings
from sslpairs.methods.base import BaseMethod, Embeddings
from sslpairs.pairs.base import Pairs, Step


def attack(x: Tensor, loss: Callable[[Tensor], Tensor], epsilon: float) -> Tensor:
    """One ascent step of the fast gradient sign method: ``x + epsilon * sign(d loss / d x)``, without clipping.

    ``x`` is ``[N, C, H, W]`` in normalised pixels; ``loss`` maps such a batch to a scalar. Parameter gradients are not
    touched. The result is detached.
    """
    start = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(start), start)
    return (x + epsilon * gradient.sign()).detach()


class TwoNorms(nn.Module):
    """A batch norm and its adversarial twin, each with its own statistics and affine parameters."""

    def __init__(self, main: _BatchNorm, momentum: float):
        super().__init__()
        self.main = main
        self.adversarial = copy.deepcopy(main)
        self.adversarial.momentum = momentum
        self.use_adversarial = False

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.adversarial(x) if self.use_adversarial else self.main(x)


def double_norms(module: nn.Module, momentum: float) -> None:
    """Add an adversarial twin to every batch norm in a module. Layer norms, as in a vision transformer, have none: each image is
    normalised by itself, so adversarial ones do not disturb the statistics of the others."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, TwoNorms(child, momentum))
        else:
            double_norms(child, momentum)


@contextmanager
def adversarial_norms(method: nn.Module) -> Iterator[None]:
    """Use the adversarial twin of every ``TwoNorms`` in this context."""
    twins = [module for module in method.modules() if isinstance(module, TwoNorms)]
    for twin in twins:
        twin.use_adversarial = True
    try:
        yield
    finally:
        for twin in twins:
            twin.use_adversarial = False


def main_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A network's weights with the main norms only, under the names they have without CLAE."""
    kept = {key: value for key, value in state.items() if ".adversarial." not in key}
    return {key.replace(".main.", "."): value for key, value in kept.items()}


class CLAE(Pairs):
    """Adds the loss between clean view 1 and its adversarial version (released code: CLAE SimCLR/main.py:48-61)."""

    name = "clae"

    def __init__(self, settings: CLAESettings):
        self.settings = settings

    def unwrap(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:  # noqa: D102
        return main_weights(weights) if self.settings.separate_norms else weights

    def wrap(self, method: BaseMethod) -> None:
        """Second norms for the online networks, unless one set serves all; momentum encoders never see an adversarial image."""
        if self.settings.separate_norms:
            for module in method.online_modules():
                double_norms(module, self.settings.batch_norm_momentum)

    def perturb(self, step: Step) -> Tensor:
        """The attack on view 1: against the base loss only, all in the adversarial norms if there are any, in at least float32.

        Only the second argument is differentiated; the first is the same image, embedded separately.
        """
        x, method = step.xs[0], step.method
        if self.settings.clip and step.bounds is None:
            raise ValueError("a clipped attack needs the valid range of pixels: pass bounds to the step")
        with self._norms(step), torch.autocast(x.device.type, enabled=False):
            with torch.no_grad():
                anchor = step.gather(method.embed(x)) if method.attacks_with_anchor else Embeddings()
            other = step.clean[1].constant(x.dtype)

            def loss(candidate: Tensor) -> Tensor:
                return method.adversarial_loss(step.gather(method.embed(candidate)), anchor, other)

            attacked = attack(x, loss, self.settings.epsilon)
        if self.settings.clip:
            low, high = (bound.view(1, -1, 1, 1).to(x.dtype) for bound in step.bounds)
            attacked = attacked.clamp(low, high)
        return attacked

    @contextmanager
    def _norms(self, step: Step) -> Iterator[None]:
        """The attack's norms; their running statistics are updated only if the recipe says so."""
        used = [] if self.settings.attack_updates_norms else self._attacked_norms(step.method)
        before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in used]
        for norm in used:
            norm.momentum = 0.0
        try:
            with adversarial_norms(step.method):
                yield
        finally:
            for norm, (momentum, counter) in zip(used, before, strict=True):
                norm.momentum = momentum
                norm.num_batches_tracked.copy_(counter)

    def _attacked_norms(self, method: BaseMethod) -> list[_BatchNorm]:
        """The norms through which the attack's forward passes go."""
        if self.settings.separate_norms:
            return [module.adversarial for module in method.modules() if isinstance(module, TwoNorms)]
        online = {module: None for part in method.online_modules() for module in part.modules()}
        return [module for module in online if isinstance(module, _BatchNorm)]

    def add_loss(self, total: Tensor, step: Step) -> Tensor:
        """Add the base loss between the clean view in the main norms and the adversarial one, in its own norms if it has any."""
        x, method = self.perturb(step), step.method
        with step.network_precision():
            with adversarial_norms(method):
                adversarial = step.gather(method.embed(x).float())
            anchor = step.gather(method.embed(step.xs[0]).float()) if method.embeds_anchor_again else step.clean[0]
        term = method.adversarial_loss(adversarial, anchor, step.clean[1])
        step.parts["clae"] = term.detach()
        return total + self.settings.weight * term
