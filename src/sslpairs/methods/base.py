"""What a base method offers to the training step and to the pair strategies."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn

from sslpairs.config.networks import Head


@dataclass(frozen=True)
class Clock:
    """Where in its training a run stands; steps and epochs are counted from 0."""

    step: int = 0
    steps: int = 1
    epoch: int = 0

    @property
    def progress(self) -> float:
        """From 0 at the first step to 1 after the last one."""
        return self.step / self.steps


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
    """What the momentum encoder, or a bank, has to say of the images ``[N, D]``, without gradient."""
    s: Tensor | None = None
    """Scores of the prototypes ``[N, K]``."""
    q: Tensor | None = None
    """Codes: shares of the prototypes ``[N, K]``, without gradient."""

    def parts(self) -> dict[str, Tensor]:
        """Those that are there, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def _map(self, change) -> "Emb":
        return Emb(**{name: change(value) for name, value in self.parts().items()})

    def split(self, count: int) -> tuple["Emb", "Emb"]:
        """The first ``count`` images, and the rest."""
        return self._map(lambda value: value[:count]), self._map(lambda value: value[count:])

    def float(self) -> "Emb":
        """In float32 at least, in which objectives are computed."""
        return self._map(lambda value: value if value.dtype == torch.float64 else value.float())

    def constant(self, dtype: torch.dtype) -> "Emb":
        """The same values without gradient, in another precision."""
        return self._map(lambda value: value.detach().to(dtype))


def head(how: Head, width: int) -> ProjectionHead:
    """A projector or predictor on ``width`` features, from lightly's building block."""
    blocks = []
    for hidden in how.hidden:
        blocks.append((width, hidden, nn.BatchNorm1d(hidden) if how.batch_norm else None, nn.ReLU()))
        width = hidden
    norm = nn.BatchNorm1d(how.output, affine=how.last_batch_norm != "fixed") if how.last_batch_norm else None
    blocks.append((width, how.output, norm, None))
    return ProjectionHead(blocks)


class BaseMethod(nn.Module, ABC):
    """A method of self-supervised learning on two large views, and perhaps small ones after them.

    Subclasses own their networks; ``backbone`` is the one that is evaluated. Pair strategies use ``pair_loss`` and the
    methods below it, and never look inside. Embedding images and computing losses changes nothing but the statistics of
    batch norms: queues, banks, centres and momentum encoders move in ``before_step`` and ``after_step`` only, which see
    the clean views and no others.
    """

    backbone: nn.Module
    projector: nn.Module
    small = None
    """Settings of the small views, where a method is trained with them."""
    mixed_views: tuple[int, ...] = (0, 1)
    """The views of which MixCo makes mixed images."""
    sums_directions = False
    """Whether the base loss is the sum over both directions (True) or their mean; MixCo's terms follow it."""
    attacks_with_anchor = True
    """Whether ``adversarial_loss`` uses the embedding of the image that is attacked."""
    embeds_anchor_again = False
    """Whether CLAE's term embeds clean view 1 once more, which moves its batch norms once more (Plain's released code)."""

    def __init__(self, settings, backbone: nn.Module, width: int):
        super().__init__()
        self.settings = settings
        self.backbone = backbone
        self.projector = head(settings.projector, width)

    def embed(self, x: Tensor) -> Emb:
        """The online network's view of images ``[N, C, H, W]``."""
        h = self.backbone(x)
        return Emb(h=h, z=self.projector(h))

    def project(self, x: Tensor) -> Tensor:
        """Raw projections ``[N, D]`` alone."""
        return self.projector(self.backbone(x))

    def views(self, xs: Sequence[Tensor], mixed: Sequence[Tensor | None]) -> tuple[list[Emb], list[Emb | None]]:
        """Embeddings of all views, and of the mixed images of each view where there are any.

        Every tensor is a batch of its own to the batch norms, in the order clean, then mixed.
        """
        clean = [self.embed(x) for x in xs]
        return clean, [None if m is None else self.embed(m) for m in mixed]

    # --- objectives ----------------------------------------------------------------------------------------------

    def loss(self, clean: Sequence[Emb]) -> Tensor:
        """The method's objective for all its views: a scalar."""
        return self.pair_loss(clean[0], clean[1])

    @abstractmethod
    def pair_loss(self, a: Emb, b: Emb) -> Tensor:
        """The method's own objective for two large views: a scalar."""

    def adversarial_loss(self, adversarial: Emb, anchor: Emb, other: Emb) -> Tensor:
        """The objective between an adversarial view and the clean one it was made from (``anchor``), or, for methods with
        targets, the clean other view, in that one direction: a scalar."""
        return self.pair_loss(anchor, adversarial)

    # What a mixed image is compared with: a method answers one of the three.

    def relation(self, mixed: Emb, other: Emb, view: int) -> tuple[Tensor, Tensor, Tensor | None] | None:
        """Queries ``[N/2, D]`` of the mixed images of ``view``, keys ``[N, D]`` of the clean other view, and further
        negatives ``[D, K]`` (normalised columns), all else raw; None for methods that do not contrast."""
        return None

    def per_sample_loss(self, a: Emb, b: Emb) -> Tensor | None:
        """One direction of the objective for each image ``[N]``; None for methods that have none."""
        return None

    # --- training ------------------------------------------------------------------------------------------------

    def online_modules(self) -> list[nn.Module]:
        """The networks that are trained by gradient."""
        return [self.backbone, self.projector]

    def constant_rate_modules(self) -> list[nn.Module]:
        """Those of them whose learning rate stays at its peak."""
        return []

    def before_step(self, clock: Clock) -> None:
        """Called before the views are embedded."""

    def after_backward(self, clock: Clock) -> None:
        """Called between the gradients and the optimiser's step."""

    def after_step(self, clean: Sequence[Emb], clock: Clock) -> None:
        """Called after the optimiser's step, with the clean views only."""
