"""MixCo (arXiv 2010.06300): a mixed image is similar to the other views of both its parents, in the mixing proportions."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sslpairs.config.strategies.mixco import MixCoSettings
from sslpairs.methods.base import Embeddings
from sslpairs.methods.codes import code_loss
from sslpairs.pairs.base import Pairs, Step
from sslpairs.random_streams import to_device


def mix(x: Tensor, lam: Tensor) -> Tensor:
    """``lam * x_i + (1 - lam) * x_(i + N/2)``: ``x`` is ``[N, ...]`` with N even, ``lam`` is ``[N/2]``; ``[N/2, ...]``."""
    if len(x) % 2:
        raise ValueError(
            f"MixCo mixes the two halves of a batch, which {len(x)} images do not have: use an even batch size"
        )
    first, second = x.chunk(2)
    lam = lam.to(x.dtype).view(-1, *[1] * (x.dim() - 1))
    return lam * first + (1 - lam) * second


def soft_contrast(
    z_mixed: Tensor, z_other: Tensor, lam: Tensor, temperature: float, queue: Tensor | None = None
) -> Tensor:
    """Soft cross entropy of mixed images against the other view: a scalar, mean over the N/2 mixed images.

    ``z_mixed`` is raw ``[N/2, D]``, ``z_other`` raw ``[N, D]``, ``lam`` ``[N/2]``; ``queue`` holds normalised negatives
    ``[D, K]``. Row i has the label lam_i at column i and 1 - lam_i at column i + N/2 (MIXCO simclr/pretrain.py:197,
    moco/models/encoder.py:213-228). One log-softmax, so that small temperatures give no NaN.
    """
    mixed, other = F.normalize(z_mixed, dim=1), F.normalize(z_other, dim=1)
    logits = mixed @ other.T
    if queue is not None:
        logits = torch.cat([logits, mixed @ queue], dim=1)
    logs = F.log_softmax(logits / temperature, dim=1)
    half = len(mixed)
    row = torch.arange(half, device=logs.device)
    lam = lam.to(logs.dtype)
    return -(lam * logs[row, row] + (1 - lam) * logs[row, row + half]).mean()


class MixCo(Pairs):
    """Adds mixed images of the views, and their targets.

    Contrastive methods: soft cross entropy over the other view. Methods with codes: mixed images predict equally mixed codes.
    Methods with a per-image loss (ours): lam * loss_i + (1 - lam) * loss_j, which is what soft labels mean there, since cross
    entropy is linear in the label. Methods whose loss is over the whole batch (ours): the base's loss between mixed
    projections and equally mixed clean projections.
    """

    name = "mixco"

    def __init__(self, settings: MixCoSettings):
        self.settings = settings

    def _shares(self, count: int, draws: torch.Generator) -> Tensor:
        alpha = self.settings.alpha
        if alpha is None:
            return torch.rand(count, generator=draws)
        # Beta(alpha, alpha) as a ratio of Gamma draws; torch.distributions takes no generator.
        pair = torch._standard_gamma(torch.full((count, 2), alpha), generator=draws)
        return pair[:, 0] / pair.sum(1).clamp_min(torch.finfo(pair.dtype).tiny)

    def extra_views(self, step: Step) -> list[Tensor | None]:
        """Mix the views that the method requests, each with its own shares, drawn for the whole batch."""
        given = step.given.get("mixco", {})
        self.lam: dict[int, Tensor] = {}
        mixed: list[Tensor | None] = [None] * len(step.xs)
        for view in step.method.mixed_views:
            x = step.xs[view]
            lam = (
                given[view] if view in given else to_device(self._shares(step.rows // 2, step.draws["mixco"]), x.device)
            )
            self.lam[view], mixed[view] = lam, mix(x, step.share(lam))
        return mixed

    def add_loss(self, total: Tensor, step: Step) -> Tensor:
        """The base's loss and the mixed terms.

        Codes: the plain mean over all cross entropies, clean and mixed, as released (swav/main_swav.py:417, :433), mixed ones
        weighted by ``weight``. Otherwise the mixed terms are summed or averaged over directions like the base loss.
        """
        terms = torch.stack([self._term(step, view) for view in step.method.mixed_views])
        step.parts["mixco"] = terms.detach().mean()
        weight = self.settings.weight
        if step.clean[0].codes is not None:
            clean_terms = 2 * (len(step.clean) - 1)
            return (clean_terms * total + weight * terms.sum()) / (clean_terms + weight * len(terms))
        return total + weight * (terms.sum() if step.method.sums_directions else terms.mean())

    def _term(self, step: Step, view: int) -> Tensor:
        mixed, other, method = step.mixed[view], step.clean[1 - view], step.method
        lam = self.lam[view].to(mixed.projection.dtype)
        if other.codes is not None:
            codes = other.codes
            if self.settings.hard_codes:
                codes = F.one_hot(codes.argmax(1), codes.shape[1]).to(codes.dtype)
            return code_loss(mix(codes, lam), mixed.scores, self.settings.temperature)
        contrast = method.contrast(mixed, other, view)
        if contrast is not None:
            queries, keys, negatives = contrast
            return soft_contrast(queries, keys, lam, self.settings.temperature, negatives)
        first, second = other.split(len(lam))
        loss = method.per_sample_loss(mixed, first)
        if loss is not None:
            return (lam * loss + (1 - lam) * method.per_sample_loss(mixed, second)).mean()
        return method.pair_loss(mixed, Embeddings(projection=mix(other.projection, lam)))
