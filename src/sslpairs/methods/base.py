"""What a base method offers to the training step and to the pair strategies."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn

from sslpairs.config.recipes import Head


@dataclass(frozen=True)
class Emb:
    """What the networks make of a batch of N images; a part that a method has no use for is None."""

    h: Tensor | None = None
    """Backbone features ``[N, F]``."""
    z: Tensor | None = None
    """Raw projections of the online network ``[N, D]``: neither normalised nor detached."""
    p: Tensor | None = None
    """Predictions made from z ``[N, D]``."""
    t: Tensor | None = None
    """Raw projections of the momentum encoder ``[N, D]``, without gradient."""

    def split(self, count: int) -> tuple["Emb", "Emb"]:
        """The first ``count`` images, and the rest."""
        parts = {name: value for name, value in vars(self).items() if value is not None}
        return (
            Emb(**{name: value[:count] for name, value in parts.items()}),
            Emb(**{name: value[count:] for name, value in parts.items()}),
        )


def head(how: Head, width: int) -> ProjectionHead:
    """A projector or predictor on ``width`` features, from lightly's building block."""
    blocks = []
    for hidden in how.hidden:
        blocks.append((width, hidden, nn.BatchNorm1d(hidden) if how.batch_norm else None, nn.ReLU()))
        width = hidden
    blocks.append((width, how.output, nn.BatchNorm1d(how.output) if how.last_batch_norm else None, None))
    return ProjectionHead(blocks)


class BaseMethod(nn.Module, ABC):
    """A method of self-supervised learning on two views.

    Subclasses own their networks; ``backbone`` is the one that is evaluated. Pair strategies use ``pair_loss`` and the
    methods below it, and never look inside.
    """

    backbone: nn.Module
    mixed_views: tuple[int, ...] = (0, 1)
    """The views of which MixCo makes mixed images."""
    mixes_share_batch = False
    """Whether mixed images go through the network in one batch with the clean ones (as MoCo's released code does)."""
    sums_directions = False
    """Whether the base loss is the sum over both directions (True) or their mean; MixCo's terms follow it."""

    def embed(self, x: Tensor) -> Emb:
        """The online network's view of images ``[N, C, H, W]``."""
        h = self.backbone(x)
        return Emb(h=h, z=self.projector(h))

    def views(self, xs: Sequence[Tensor], mixed: Sequence[Tensor | None]) -> tuple[list[Emb], list[Emb | None]]:
        """Embeddings of the two views, and of the mixed images of each view where there are any."""
        clean = [self.embed(x) for x in xs]
        return clean, [None if m is None else self.embed(m) for m in mixed]

    @abstractmethod
    def pair_loss(self, a: Emb, b: Emb) -> Tensor:
        """The method's own objective for two views: a scalar."""

    def candidates(self, other: Emb, view: int) -> tuple[Tensor, Tensor | None] | None:
        """What a mixed image of ``view`` is contrasted with: keys ``[N, D]`` of the other view and further negatives
        ``[D, K]``; None for methods that do not contrast."""
        return None

    def per_sample_loss(self, a: Emb, b: Emb) -> Tensor:
        """One direction of the objective for each image ``[N]``; for methods that do not contrast."""
        raise TypeError(f"{type(self).__name__} contrasts images: it has candidates, and no loss for each image")

    def adversarial_loss(self, adversarial: Emb, anchor: Emb, other: Emb) -> Tensor:
        """The objective between an adversarial view and the clean one it was made from (``anchor``), or, for methods with
        a momentum encoder, the clean other view: a scalar."""
        return self.pair_loss(anchor, adversarial)

    @abstractmethod
    def online_modules(self) -> Sequence[nn.Module]:
        """The networks that are trained by gradient."""

    def before_step(self, progress: float) -> None:
        """Called before the views are embedded; ``progress`` runs from 0 to 1 over the training."""

    def after_step(self, clean: Sequence[Emb], progress: float) -> None:
        """Called after the optimiser's step, with the clean views only."""
