"""The input of a protocol: an encoder's features."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sslpairs.plan.answers import Coded, encode
from sslpairs.plan.records import Receipt


@dataclass(frozen=True)
class Encoded:
    """Frozen features of a data set, on one device."""

    train: tuple[Tensor, Tensor]
    """Features ``[N, D]`` and labels int64 ``[N]``."""
    test: tuple[Tensor, Tensor]
    classes: int
    seed: int
    receipt: Receipt | None = None
    """Receipt of the run that trained the encoder, if there is one."""
    answers: dict[str, Coded] = field(default_factory=dict)
    """What a protocol has kept, by metric."""

    def keep(self, metric: str, right: Tensor, of: int = 1) -> None:
        """Note which test images were answered correctly, bool ``[Q]``, or how many of several answers to each were, int ``[Q]``.

        A protocol may do this for a metric that is the mean of it: claims are then tested for other test images, too.
        """
        self.answers[metric] = encode(right.cpu().numpy(), of)


def standardise(known: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
    """Training and test features with mean 0 and variance 1 over the training images in every dimension; a dimension that never varies
    becomes 0."""
    mean, std = known.mean(0), known.std(0, correction=0)
    std = torch.where(std > 1e-6 * std.max(), std, torch.inf)
    return (known - mean).div_(std), (asked - mean).div_(std)


def hits(scores: Tensor, labels: Tensor, count: int) -> Tensor:
    """Whether an image's label is among the ``count`` classes of the highest scores ``[N, C]``: bool ``[N]``."""
    return (scores.topk(min(count, scores.shape[1]), dim=1).indices == labels[:, None]).any(1)


def percent(right: Tensor) -> float:
    """Percentage of True values."""
    return 100 * right.double().mean().item()
