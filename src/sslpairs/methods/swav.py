"""SwAV (Caron et al. 2020, arXiv 2006.09882): predict the codes of one view from another, with multi-crop.

Codes are from lightly's ``sinkhorn``, the cross entropies are those of lightly's loss. Prototypes and forward order are our own:
lightly's prototypes have a bias, which the released code does not, and its loss computes the codes inside, where MixCo cannot
mix them. As in the released code (MIXCO swav/src/resnet.py), all views of one size go through the backbone in one batch, and all
views through the head in one; mixed images go through each of them separately.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import torch
import torch.nn.functional as F
from lightly.loss.swav_loss import sinkhorn
from torch import Tensor, nn

from sslpairs.distributed.gather import share, whole_rows
from sslpairs.methods.base import Embeddings, TrainProgress
from sslpairs.methods.codes import CodeMethod


class SwAV(CodeMethod):
    """SwAV: the mean of ``code_loss`` over both large views' codes and all other views.

    ``queue`` ``[2, K, D]`` holds normalised projections of the large views, the newest first.
    """

    def __init__(self, settings, backbone: nn.Module, width: int):
        super().__init__(settings, backbone, width)
        self.prototypes = nn.Linear(settings.projector.output, settings.prototypes, bias=False)
        self.queued: int | None = None
        """Number of projections in the queue: read once, then counted here, so that no step waits for the device."""
        if settings.queue:
            self.register_buffer("queue", torch.zeros(2, settings.queue, settings.projector.output))
            self.register_load_state_dict_post_hook(lambda module, _: setattr(module, "queued", None))

    def online_modules(self) -> list[nn.Module]:  # noqa: D102
        return [self.backbone, self.projector, self.prototypes]

    def _head(self, h: Tensor) -> Embeddings:
        z = self.projector(h)
        return Embeddings(features=h, projection=z, scores=self.prototypes(F.normalize(z, dim=1)))

    def embed(self, x: Tensor) -> Embeddings:  # noqa: D102
        return self._head(self.backbone(x))

    def views(
        self, xs: Sequence[Tensor], mixed: Sequence[Tensor | None]
    ) -> tuple[list[Embeddings], list[Embeddings | None]]:
        """Each forward pass of the released code is one batch for the batch norms: see above."""
        features = [None if m is None else self.backbone(m) for m in mixed]
        sizes = [[*group] for _, group in groupby(xs, key=lambda x: x.shape[-2:])]
        rest = self._head(torch.cat([self.backbone(torch.cat(group)) for group in sizes]))
        clean: list[Embeddings] = []
        for view in range(len(xs)):
            first, rest = rest.split(len(xs[0]))
            clean.append(replace(first, codes=self.codes(first.scores, view) if view < 2 else None))
        return clean, [None if h is None else self._head(h) for h in features]

    @torch.no_grad()
    def codes(self, scores: Tensor, view: int) -> Tensor:
        """Codes ``[N, K]`` from scores of the same shape, together with those of the view's queue once it is full.

        Codes are balanced over the whole batch, of which each process has a share.
        """
        (scores,) = whole_rows([scores.detach().to(self.prototypes.weight.dtype)])
        count = len(scores)
        with torch.autocast(scores.device.type, enabled=False):
            if self._uses_queue():
                scores = torch.cat([scores, F.linear(self.queue[view], self.prototypes.weight)])
            return sinkhorn(scores, self.settings.iterations, self.settings.epsilon)[:count][share()]

    def _uses_queue(self) -> bool:
        if self.settings.queue and self.queued is None:
            self.queued = int(self.queue[0].any(1).sum())
        return bool(self.settings.queue) and self.queued >= self.settings.queue

    @torch.no_grad()
    def before_step(self, progress: TrainProgress) -> None:
        """Normalise the prototypes to unit length."""
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def after_backward(self, progress: TrainProgress) -> None:
        """Prototypes are frozen for the first steps."""
        if progress.step < self.settings.freeze_steps:
            self.prototypes.weight.grad = None

    @torch.no_grad()
    def after_step(self, clean: Sequence[Embeddings], progress: TrainProgress) -> None:
        """Put the newest projections first in the queue."""
        if self.settings.queue and progress.epoch >= self.settings.queue_from_epoch:
            new = torch.stack([F.normalize(emb.projection, dim=1) for emb in clean[:2]]).to(self.queue.dtype)
            self.queue.copy_(torch.cat([new, self.queue], dim=1)[:, : self.settings.queue])
            if self.queued is not None:
                self.queued += new.shape[1]
