"""DINO (Caron et al. 2021, arXiv 2104.14294): a student predicts the centred, sharpened output of its momentum teacher.

The formulas are those of lightly and solo-learn, which agree; the projector is lightly's block, the last layer torch's
``weight_norm``. Lightly's ``DINOLoss`` updates its centre inside the loss, so CLAE's attack would update it too, and its
``DINOProjectionHead`` hides the bottleneck, which DimCL contrasts: both are therefore implemented here. Every view goes
through the networks as a separate batch, as in solo-learn.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslpairs.methods.base import Embeddings, TrainProgress, head
from sslpairs.methods.codes import CodeMethod
from sslpairs.methods.momentum import cosine_momentum, ema_copy, ema_update


class DINOHead(nn.Module):
    """Bottleneck, normalisation and last layer, with the initialisation of lightly and solo-learn."""

    def __init__(self, settings, width: int):
        super().__init__()
        self.bottleneck = head(settings.projector, width)
        for name, module in self.bottleneck.layers.named_children():
            if isinstance(module, nn.ReLU):
                self.bottleneck.layers[int(name)] = nn.GELU()
            elif isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.last = nn.utils.parametrizations.weight_norm(
            nn.Linear(settings.projector.output, settings.prototypes, bias=False)
        )
        length = self.last.parametrizations.weight.original0
        nn.init.ones_(length)
        length.requires_grad_(not settings.norm_last_layer)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``[N, F]`` to bottleneck ``[N, D]`` and scores ``[N, K]``."""
        z = self.bottleneck(h)
        return z, self.last(F.normalize(z, dim=1))


class DINO(CodeMethod):
    """DINO: the mean of ``code_loss`` over both teacher views and all other student views.

    ``center`` ``[K]`` is the running mean of the teacher's outputs.
    """

    def __init__(self, settings, backbone: nn.Module, width: int):
        super().__init__(settings, backbone, width)
        self.projector = DINOHead(settings, width)
        self.teacher_backbone = ema_copy(backbone)
        self.teacher_projector = ema_copy(self.projector)
        self.register_buffer("center", torch.zeros(settings.prototypes))
        self.teacher_temperature = settings.teacher_temperature[0]

    def embed(self, x: Tensor) -> Embeddings:  # noqa: D102
        h = self.backbone(x)
        z, s = self.projector(h)
        return Embeddings(features=h, projection=z, scores=s)

    def project(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.projector(self.backbone(x))[0]

    def views(
        self, xs: Sequence[Tensor], mixed: Sequence[Tensor | None]
    ) -> tuple[list[Embeddings], list[Embeddings | None]]:
        """The student sees all views, the teacher the two large ones; mixed images pass through the student only."""
        student, extra = super().views(xs, mixed)
        clean = []
        for view, emb in enumerate(student):
            target = codes = None
            if view < 2:
                target = self._teach(xs[view])
                codes = F.softmax((target - self.center) / self.teacher_temperature, dim=1)
            clean.append(replace(emb, target=target, codes=codes))
        return clean, extra

    @torch.no_grad()
    def _teach(self, x: Tensor) -> Tensor:
        return self.teacher_projector(self.teacher_backbone(x))[1]

    def before_step(self, progress: TrainProgress) -> None:
        """Raise the teacher's temperature over the first epochs."""
        first, last = self.settings.teacher_temperature
        steps = self.settings.teacher_warmup_epochs - 1
        reached = min(1.0, progress.epoch / steps) if steps > 0 else float(progress.epoch >= steps + 1)
        self.teacher_temperature = first + (last - first) * reached

    def after_backward(self, progress: TrainProgress) -> None:
        """Clip the backbone's gradients per parameter; the last layer is frozen for the first epochs."""
        if self.settings.clip:
            for parameter in self.backbone.parameters():
                if parameter.grad is not None:
                    nn.utils.clip_grad_norm_(parameter, self.settings.clip, foreach=False)
        if progress.epoch < self.settings.freeze_epochs:
            for parameter in self.projector.last.parameters():
                parameter.grad = None

    @torch.no_grad()
    def after_step(self, clean: Sequence[Embeddings], progress: TrainProgress) -> None:
        """Move the centre towards the teacher's mean output and the teacher towards the student."""
        mean = torch.cat([emb.target for emb in clean[:2]]).to(self.center.dtype).mean(0)
        self.center.lerp_(mean, 1 - self.settings.center_momentum)
        momentum = cosine_momentum(*self.settings.momentum, progress.fraction)
        ema_update(self.teacher_backbone, self.backbone, momentum)
        ema_update(self.teacher_projector, self.projector, momentum)
