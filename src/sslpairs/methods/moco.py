"""MoCo v2 (Chen et al. 2020, arXiv 2003.04297): contrast queries with keys of a momentum encoder and a queue of old keys.

``MoCo`` is one-way with one queue, as in MixCo's released code; ``mocoplus.MoCoPlus`` (v2+) is symmetric with two queues, as in
solo-learn and DimCL's released code. They differ in when the key encoder is updated: before the keys are computed (MIXCO
moco/models/encoder.py), or after the optimiser step (SOLO methods/base.py). Lightly's NTXentLoss has the same form but
keeps its bank outside checkpoints, so loss and queue are our own.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslpairs.methods.base import BaseMethod, Embeddings, TrainProgress
from sslpairs.methods.momentum import cosine_momentum, ema_copy, ema_update
from sslpairs.methods.queues import enqueue


def queue_contrast(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Cross entropy of each query with its key against the queue: a scalar; rows are normalised here.

    ``queries``, ``keys`` are raw ``[N, D]``; ``queue`` holds normalised columns ``[D, K]``.
    """
    queries, keys = F.normalize(queries, dim=1), F.normalize(keys, dim=1)
    logits = torch.cat([(queries * keys).sum(1, keepdim=True), queries @ queue], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


class MoCo(BaseMethod):
    """One-way MoCo v2: view 1 gives the queries, view 2 the keys through the momentum encoder.

    ``queue`` ``[1, K, D]`` holds normalised keys of view 2 (``[2, K, D]``, of views 1 and 2, in ``MoCoPlus``).
    """

    queries: tuple[int, ...] = (0,)
    mixed_views = (0,)
    attacks_with_anchor = False

    def __init__(self, settings, backbone: nn.Module, width: int):
        super().__init__(settings, backbone, width)
        self.key_backbone = ema_copy(backbone)
        self.key_projector = ema_copy(self.projector)
        self.answering = [view for view in (0, 1) if 1 - view in self.queries]
        size = (len(self.answering), settings.queue, settings.projector.output)
        self.register_buffer("queue", F.normalize(torch.randn(size), dim=2))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long))

    def before_step(self, progress: TrainProgress) -> None:
        """Update the key encoder before the keys are computed; buffers are not updated."""
        self._update_key_encoder(progress)

    def _update_key_encoder(self, progress: TrainProgress) -> None:
        momentum = cosine_momentum(*self.settings.momentum, progress.fraction)
        ema_update(self.key_backbone, self.backbone, momentum)
        ema_update(self.key_projector, self.projector, momentum)

    def views(
        self, xs: Sequence[Tensor], mixed: Sequence[Tensor | None]
    ) -> tuple[list[Embeddings], list[Embeddings | None]]:
        """Queries and their mixed images in one batch (so that they share batch norms); keys of the other views."""
        clean: list[Embeddings] = []
        extra: list[Embeddings | None] = []
        for view, (x, m) in enumerate(zip(xs, mixed, strict=True)):
            online, mixture = Embeddings(), None
            if view in self.queries:
                online = self.embed(x if m is None else torch.cat([x, m]))
                if m is not None:
                    online, mixture = online.split(len(x))
            clean.append(replace(online, target=self._keys(x) if view in self.answering else None))
            extra.append(mixture)
        return clean, extra

    @torch.no_grad()
    def _keys(self, x: Tensor) -> Tensor:
        return self.key_projector(self.key_backbone(x))

    def negatives(self, view: int) -> Tensor:
        """The queue of a view's keys, ``[D, K]``."""
        return self.queue[self.answering.index(view)].T

    def _queue_loss(self, query: Embeddings, key: Embeddings, answering: int) -> Tensor:
        return queue_contrast(query.projection, key.target, self.negatives(answering), self.settings.temperature)

    def pair_loss(self, a: Embeddings, b: Embeddings) -> Tensor:  # noqa: D102
        return self._queue_loss(a, b, 1)

    def contrast(self, mixed: Embeddings, other: Embeddings, view: int) -> tuple[Tensor, Tensor, Tensor]:
        """Clean keys and their queue, as released (encoder.py:213-228)."""
        return mixed.projection, other.target, self.negatives(1 - view)

    def adversarial_loss(self, adversarial: Embeddings, anchor: Embeddings, other: Embeddings) -> Tensor:
        """Ours: the adversarial image is the query, the clean other view its key."""
        return self._queue_loss(adversarial, other, 1)

    def after_step(self, clean: Sequence[Embeddings], progress: TrainProgress) -> None:
        """The newest keys replace the oldest ones."""
        enqueue(
            self.queue, self.oldest, torch.stack([F.normalize(clean[view].target, dim=1) for view in self.answering])
        )
