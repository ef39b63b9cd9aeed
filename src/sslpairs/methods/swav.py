"""SwAV (Caron et al. 2020, arXiv 2006.09882): predict the codes of one view from another, with multi-crop.

Codes are lightly's ``sinkhorn``, the cross entropies are those of lightly's loss. Prototypes and forward order are our own:
lightly's prototypes carry a bias, which the released code has not, and its loss makes the codes inside, where MixCo cannot
mix them. As released (MIXCO swav/src/resnet.py), all views of one size go through the backbone in one batch, and all views
through the head in one; mixed images go through each of them apart.
"""

from collections.abc import Sequence
from itertools import groupby

import torch
import torch.nn.functional as F
from lightly.loss.swav_loss import sinkhorn
from torch import Tensor, nn

from sslpairs.distributed.gather import share, whole_rows
from sslpairs.methods.base import Clock, Emb
from sslpairs.methods.codes import CodeMethod


class SwAV(CodeMethod):
    """SwAV: the mean over both large views' codes and all other views of ``code_loss``.

    ``queue`` ``[2, K, D]`` holds normalised projections of the large views, the newest first.
    """

    def __init__(self, settings, backbone: nn.Module, width: int):
        super().__init__(settings, backbone, width)
        self.prototypes = nn.Linear(settings.projector.output, settings.prototypes, bias=False)
        self.queued: int | None = None
        """Projections in the queue: looked up once, then counted here, so that no step waits for the device."""
        if settings.queue:
            self.register_buffer("queue", torch.zeros(2, settings.queue, settings.projector.output))
            self.register_load_state_dict_post_hook(lambda module, _: setattr(module, "queued", None))

    def online_modules(self) -> list[nn.Module]:  # noqa: D102
        return [self.backbone, self.projector, self.prototypes]

    def _head(self, h: Tensor) -> Emb:
        z = self.projector(h)
        return Emb(h=h, z=z, s=self.prototypes(F.normalize(z, dim=1)))

    def embed(self, x: Tensor) -> Emb:  # noqa: D102
        return self._head(self.backbone(x))

    def views(self, xs: Sequence[Tensor], mixed: Sequence[Tensor | None]) -> tuple[list[Emb], list[Emb | None]]:
        """One batch to the norms is what one forward of the released code takes: see above."""
        features = [None if m is None else self.backbone(m) for m in mixed]
        sizes = [[*group] for _, group in groupby(xs, key=lambda x: x.shape[-2:])]
        rest = self._head(torch.cat([self.backbone(torch.cat(group)) for group in sizes]))
        clean: list[Emb] = []
        for view in range(len(xs)):
            one, rest = rest.split(len(xs[0]))
            clean.append(Emb(h=one.h, z=one.z, s=one.s, q=self.codes(one.s, view) if view < 2 else None))
        return clean, [None if h is None else self._head(h) for h in features]

    @torch.no_grad()
    def codes(self, scores: Tensor, view: int) -> Tensor:
        """Codes ``[N, K]`` from scores of the same shape, together with those of the view's queue once that is full.

        Codes are balanced over the whole batch, of which several processes have a share each.
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
    def before_step(self, clock: Clock) -> None:
        """Prototypes are unit vectors."""
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def after_backward(self, clock: Clock) -> None:
        """Prototypes stay for the first steps."""
        if clock.step < self.settings.freeze_steps:
            self.prototypes.weight.grad = None

    @torch.no_grad()
    def after_step(self, clean: Sequence[Emb], clock: Clock) -> None:
        """The newest projections come first."""
        if self.settings.queue and clock.epoch >= self.settings.queue_from_epoch:
            new = torch.stack([F.normalize(emb.z, dim=1) for emb in clean[:2]]).to(self.queue.dtype)
            self.queue.copy_(torch.cat([new, self.queue], dim=1)[:, : self.settings.queue])
            if self.queued is not None:
                self.queued += new.shape[1]
