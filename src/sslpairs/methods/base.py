"""Interface of a base method to the training step and the pair strategies."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn

from sslpairs.config.networks import HeadSettings


@dataclass(frozen=True)
class TrainProgress:
    """Position of a run in its training; steps and epochs are counted from 0."""

    step: int = 0
    steps: int = 1
    epoch: int = 0

    @property
    def fraction(self) -> float:
        """From 0 at the first step to 1 after the last one."""
        return self.step / self.steps


@dataclass(frozen=True)
class Embeddings:
    """Network outputs for a batch of N images; parts that a method does not use are None."""

    features: Tensor | None = None
    """Backbone features ``[N, F]``: h in the papers."""
    projection: Tensor | None = None
    """Raw projections of the online network ``[N, D]``, neither normalised nor detached: z in the papers."""
    prediction: Tensor | None = None
    """Predictions made from the projections ``[N, D]``."""
    target: Tensor | None = None
    """Targets ``[N, D]`` from the momentum encoder or memory bank, detached."""
    scores: Tensor | None = None
    """Prototype scores ``[N, K]``."""
    codes: Tensor | None = None
    """Codes: prototype assignments ``[N, K]``, detached."""

    def parts(self) -> dict[str, Tensor]:
        """The parts that are not None, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def _map(self, change) -> "Embeddings":
        return Embeddings(**{name: change(value) for name, value in self.parts().items()})

    def split(self, count: int) -> tuple["Embeddings", "Embeddings"]:
        """Split into the first ``count`` images and the rest."""
        return self._map(lambda value: value[:count]), self._map(lambda value: value[count:])

    def float(self) -> "Embeddings":
        """In at least float32, in which objectives are computed."""
        return self._map(lambda value: value if value.dtype == torch.float64 else value.float())

    def constant(self, dtype: torch.dtype) -> "Embeddings":
        """The same values detached, in another precision."""
        return self._map(lambda value: value.detach().to(dtype))


def head(settings: HeadSettings, width: int) -> ProjectionHead:
    """A projector or predictor on ``width`` features, built from lightly's blocks."""
    blocks = []
    for hidden in settings.hidden:
        blocks.append((width, hidden, nn.BatchNorm1d(hidden) if settings.batch_norm else None, nn.ReLU()))
        width = hidden
    norm = (
        nn.BatchNorm1d(settings.output, affine=settings.last_batch_norm != "fixed")
        if settings.last_batch_norm
        else None
    )
    blocks.append((width, settings.output, norm, None))
    return ProjectionHead(blocks)


class BaseMethod(nn.Module, ABC):
    """A self-supervised method on two large views, optionally followed by small ones.

    Subclasses own their networks; ``backbone`` is the one that is evaluated. Pair strategies use ``pair_loss`` and the
    methods below it, and never access internals. Embedding images and computing losses changes only batch norm statistics:
    queues, banks, centres and momentum encoders are updated only in ``before_step`` and ``after_step``, which see only the
    clean views.
    """

    backbone: nn.Module
    projector: nn.Module
    small = None
    """Settings of the small views, if the method is trained with them."""
    mixed_views: tuple[int, ...] = (0, 1)
    """The views from which MixCo makes mixed images."""
    sums_directions = False
    """Whether the base loss is the sum over both directions (True) or their mean; MixCo's terms follow it."""
    attacks_with_anchor = True
    """Whether ``adversarial_loss`` uses the embedding of the attacked image."""
    embeds_anchor_again = False
    """Whether CLAE's term embeds clean view 1 once more, which updates its batch norms once more (Plain's released code)."""

    def __init__(self, settings, backbone: nn.Module, width: int):
        super().__init__()
        self.settings = settings
        self.backbone = backbone
        self.projector = head(settings.projector, width)

    def embed(self, x: Tensor) -> Embeddings:
        """Outputs of the online network for images ``[N, C, H, W]``."""
        h = self.backbone(x)
        return Embeddings(features=h, projection=self.projector(h))

    def project(self, x: Tensor) -> Tensor:
        """Only the raw projections ``[N, D]``."""
        return self.projector(self.backbone(x))

    def views(
        self, xs: Sequence[Tensor], mixed: Sequence[Tensor | None]
    ) -> tuple[list[Embeddings], list[Embeddings | None]]:
        """Embeddings of all views, and of the mixed images of each view if there are any.

        Each tensor is a separate batch for the batch norms, in the order clean, then mixed.
        """
        clean = [self.embed(x) for x in xs]
        return clean, [None if m is None else self.embed(m) for m in mixed]

    # --- objectives ----------------------------------------------------------------------------------------------

    def loss(self, clean: Sequence[Embeddings]) -> Tensor:
        """The method's objective over all its views: a scalar."""
        return self.pair_loss(clean[0], clean[1])

    @abstractmethod
    def pair_loss(self, a: Embeddings, b: Embeddings) -> Tensor:
        """The method's own objective for two large views: a scalar."""

    def adversarial_loss(self, adversarial: Embeddings, anchor: Embeddings, other: Embeddings) -> Tensor:
        """The objective between an adversarial view and the clean one it was made from (``anchor``), or, for methods with
        targets, the clean other view, in that direction only: a scalar."""
        return self.pair_loss(anchor, adversarial)

    # What a mixed image is compared with: a method implements one of the following three.

    def contrast(self, mixed: Embeddings, other: Embeddings, view: int) -> tuple[Tensor, Tensor, Tensor | None] | None:
        """The contrast of the mixed images of ``view``: their queries ``[N/2, D]``, the keys ``[N, D]`` of the clean other view,
        and further negatives ``[D, K]`` (normalised columns) or None. Queries and keys are raw. None for methods that are not
        contrastive."""
        return None

    def per_sample_loss(self, a: Embeddings, b: Embeddings) -> Tensor | None:
        """One direction of the objective per image ``[N]``; None for methods without one."""
        return None

    # --- training ------------------------------------------------------------------------------------------------

    def online_modules(self) -> list[nn.Module]:
        """The networks trained by gradient descent."""
        return [self.backbone, self.projector]

    def constant_rate_modules(self) -> list[nn.Module]:
        """Online modules whose learning rate stays at its peak."""
        return []

    def before_step(self, progress: TrainProgress) -> None:
        """Called before the views are embedded."""

    def after_backward(self, progress: TrainProgress) -> None:
        """Called between the backward pass and the optimiser step."""

    def after_step(self, clean: Sequence[Embeddings], progress: TrainProgress) -> None:
        """Called after the optimiser step, with the clean views only."""
