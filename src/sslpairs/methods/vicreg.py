"""VICReg (Bardes et al. 2022, arXiv 2105.04906): invariance, variance and covariance of the projections.

Lightly's loss takes the mean of the two views' variance terms and solo-learn their sum; the weights here are solo-learn's,
because DimCL's weight refers to them, so lightly is given twice the variance weight.
"""

from lightly.loss import VICRegLoss
from torch import Tensor

from sslpairs.methods.base import BaseMethod, Emb


def vicreg_loss(z1: Tensor, z2: Tensor, sim: float = 25.0, var: float = 25.0, cov: float = 1.0) -> Tensor:
    """``sim * mse(z1, z2) + var * (v(z1) + v(z2)) + cov * (c(z1) + c(z2))``; z raw ``[N, D]``: a scalar.

    v is the mean over dimensions of max(0, 1 - sqrt(variance + 1e-4)), c the sum of squared off-diagonal covariances over D.
    """
    return VICRegLoss(lambda_param=sim, mu_param=2 * var, nu_param=cov)(z1, z2)


class VICReg(BaseMethod):
    """VICReg; its objective is ``vicreg_loss`` on the projections."""

    def pair_loss(self, a: Emb, b: Emb) -> Tensor:  # noqa: D102
        return vicreg_loss(a.z, b.z, self.settings.sim, self.settings.var, self.settings.cov)
