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


def simple_contrast(z1: Tensor, z2: Tensor, off_diagonal: float) -> Tensor:
    """Products of the standardised columns of two projections, ``[N, D]`` each: a scalar of the order of -N.

    Minus the mean of the D products of a column with itself in the other view, minus ``off_diagonal`` times the sum of all others
    over D * D (not over D * (D - 1)); no temperature, and the sign as released (DIMCL solo/losses/oursloss.py:142-175).
    """
    products = _standardise(z1).T @ _standardise(z2)
    own, width = products.diagonal().sum(), len(products)
    return -(own / width + off_diagonal * (products.sum() - own) / width**2)


def _standardise(z: Tensor) -> Tensor:
    centred = z - z.mean(0)
    return centred / (centred.square().mean(0) + 1e-5).sqrt()


class DimCL(Pairs):
    """A convex combination with all other terms: (1 - w) * rest + w * dimensional contrast."""

    name = "dimcl"

    def __init__(self, settings: DimCLSettings):
        self.settings = settings

    def _loss(self, z1: Tensor, z2: Tensor) -> Tensor:
        if self.settings.loss == "contrast":
            return dimensional_contrast(z1, z2, self.settings.temperature)
        weight = self.settings.off_diagonal
        return simple_contrast(z1, z2, 1.0 if weight is None else weight)

    def add_loss(self, total: Tensor, step: Step) -> Tensor:
        """Uses the raw online projections of the two clean views, with gradients into both."""
        z1, z2 = (one.projection for one in step.clean[:2])
        term = self._loss(z1, z2)
        step.parts["dimcl"] = term.detach()
        return (1 - self.settings.weight) * total + self.settings.weight * term
