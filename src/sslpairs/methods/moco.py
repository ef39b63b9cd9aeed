"""MoCo v2 (Chen et al. 2020, arXiv 2003.04297): contrast queries with keys of a momentum encoder and a queue of old keys.

``MoCo`` is one-way with one queue, as in MixCo's released code; ``MoCoPlus`` (v2+) is symmetric with two queues, as in
solo-learn and DimCL's released code. Lightly's loss keeps its bank in a buffer that a checkpoint does not hold, so the
queue here is our own.
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from lightly.models.utils import deactivate_requires_grad
from torch import Tensor, nn

from sslpairs.config.recipes import MoCo as Settings
from sslpairs.methods.base import BaseMethod, Emb, head
from sslpairs.methods.momentum import cosine_momentum, follow


def queue_contrast(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Cross entropy of each query with its key against the queue: a scalar; rows normalised here.

    ``queries``, ``keys`` are raw ``[N, D]``; ``queue`` holds normalised columns ``[D, K]``.
    """
    queries, keys = F.normalize(queries, dim=1), F.normalize(keys, dim=1)
    logits = torch.cat([(queries * keys).sum(1, keepdim=True), queries @ queue], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


class MoCo(BaseMethod):
    """One-way MoCo v2: view 1 asks, view 2 answers through the momentum encoder."""

    queries: tuple[int, ...] = (0,)
    mixed_views = (0,)
    mixes_share_batch = True

    def __init__(self, settings: Settings, backbone: nn.Module, width: int):
        super().__init__()
        self.settings = settings
        self.backbone = backbone
        self.projector = head(settings.projector, width)
        self.key_backbone = copy.deepcopy(backbone)
        self.key_projector = copy.deepcopy(self.projector)
        for module in (self.key_backbone, self.key_projector):
            deactivate_requires_grad(module)
        size = (len(self.queries), settings.projector.output, settings.queue)
        self.register_buffer("queue", F.normalize(torch.randn(size), dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long))

    def online_modules(self) -> list[nn.Module]:  # noqa: D102
        return [self.backbone, self.projector]

    def before_step(self, progress: float) -> None:
        """The key encoder follows before the keys are made (MIXCO moco/models/encoder.py); buffers do not follow."""
        momentum = cosine_momentum(*self.settings.momentum, progress)
        follow(self.key_backbone, self.backbone, momentum)
        follow(self.key_projector, self.projector, momentum)

    def views(self, xs: Sequence[Tensor], mixed: Sequence[Tensor | None]) -> tuple[list[Emb], list[Emb | None]]:
        """Queries with their mixed images in one batch; keys of the views that answer."""
        clean: list[Emb] = []
        extra: list[Emb | None] = []
        for view, (x, m) in enumerate(zip(xs, mixed, strict=True)):
            online, mixture = Emb(), None
            if view in self.queries:
                online = self.embed(x if m is None else torch.cat([x, m]))
                if m is not None:
                    online, mixture = online.split(len(x))
            asked = any(other != view for other in self.queries)
            clean.append(Emb(h=online.h, z=online.z, t=self._keys(x) if asked else None))
            extra.append(mixture)
        return clean, extra

    @torch.no_grad()
    def _keys(self, x: Tensor) -> Tensor:
        return self.key_projector(self.key_backbone(x))

    def _contrast(self, query: Emb, key: Emb, view: int) -> Tensor:
        return queue_contrast(query.z, key.t, self.queue[view], self.settings.temperature)

    def pair_loss(self, a: Emb, b: Emb) -> Tensor:  # noqa: D102
        return self._contrast(a, b, 0)

    def candidates(self, other: Emb, view: int) -> tuple[Tensor, Tensor]:  # noqa: D102
        return other.t, self.queue[view]

    def adversarial_loss(self, adversarial: Emb, anchor: Emb, other: Emb) -> Tensor:
        """Ours: the adversarial image asks, the clean key of the other view answers."""
        return self._contrast(adversarial, other, 0)

    @torch.no_grad()
    def after_step(self, clean: Sequence[Emb], progress: float) -> None:
        """The newest keys replace the oldest ones, as many as fit."""
        size = self.settings.queue
        for view in self.queries:
            keys = F.normalize(clean[1 - view].t, dim=1)[-size:]
            places = (self.oldest + torch.arange(len(keys), device=keys.device)) % size
            self.queue[view][:, places] = keys.T.to(self.queue.dtype)
        self.oldest.add_(len(keys)).remainder_(size)


class MoCoPlus(MoCo):
    """MoCo v2+: both views ask and answer, each with a queue of its own; the mean of both directions."""

    queries = (0, 1)
    mixed_views = (0, 1)

    def pair_loss(self, a: Emb, b: Emb) -> Tensor:  # noqa: D102
        return (self._contrast(a, b, 0) + self._contrast(b, a, 1)) / 2
