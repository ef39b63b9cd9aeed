"""SimCLR (Chen et al. 2020, arXiv 2002.05709): contrast two views of an image against all other views of the batch."""

from lightly.loss import NTXentLoss
from torch import Tensor, nn

from sslpairs.config.recipes import SimCLR as Settings
from sslpairs.methods.base import BaseMethod, Emb, head


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy, mean over the 2N rows; z raw ``[N, D]``.

    Lightly's loss computes the same as the released code of MixCo, CLAE, DimCL and GPS.
    """
    return NTXentLoss(temperature=temperature)(z1, z2)


class SimCLR(BaseMethod):
    """SimCLR; its objective is ``nt_xent`` on the projections."""

    def __init__(self, settings: Settings, backbone: nn.Module, width: int):
        super().__init__()
        self.settings = settings
        self.backbone = backbone
        self.projector = head(settings.projector, width)

    def online_modules(self) -> list[nn.Module]:  # noqa: D102
        return [self.backbone, self.projector]

    def pair_loss(self, a: Emb, b: Emb) -> Tensor:  # noqa: D102
        return nt_xent(a.z, b.z, self.settings.temperature)

    def candidates(self, other: Emb, view: int) -> tuple[Tensor, None]:  # noqa: D102
        # MixCo's released code lets the gradient flow into both sides (simclr/pretrain.py:183-204).
        return other.z, None
