"""DimCL (arXiv 2309.11782): contrast the dimensions of the embedding over the batch, in addition to any base loss."""

from torch import Tensor

from sslpairs.config.strategies.dimcl import DimCLSettings
from sslpairs.methods.simclr import nt_xent
from sslpairs.pairs.base import Pairs, Step


def dimensional_contrast(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """NT-Xent between the standardised columns of two projections, ``[N, D]`` each: a scalar.

    A column's positive is the same column of the other view; the inner products are Pearson correlations
    (DIMCL solo/losses/oursloss.py:48-80). Centring matters; the scale cancels.
    """
    return nt_xent(_standardise(z1).T, _standardise(z2).T, temperature)


def _standardise(z: Tensor) -> Tensor:
    centred = z - z.mean(0)
    return centred / (centred.square().mean(0) + 1e-5).sqrt()


class DimCL(Pairs):
    """A convex combination with all other terms: (1 - w) * rest + w * dimensional contrast."""

    name = "dimcl"

    def __init__(self, settings: DimCLSettings):
        self.settings = settings

    def add_loss(self, total: Tensor, step: Step) -> Tensor:
        """Uses the raw online projections of the two clean views, with gradients into both."""
        first, second = step.clean[:2]
        term = dimensional_contrast(first.projection, second.projection, self.settings.temperature)
        step.parts["dimcl"] = term.detach()
        return (1 - self.settings.weight) * total + self.settings.weight * term
