"""The input of a protocol: an encoder's features."""

from dataclasses import dataclass

from torch import Tensor

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


def hits(scores: Tensor, labels: Tensor, count: int) -> Tensor:
    """Whether an image's label is among the ``count`` classes of the highest scores ``[N, C]``: bool ``[N]``."""
    return (scores.topk(min(count, scores.shape[1]), dim=1).indices == labels[:, None]).any(1)


def percent(right: Tensor) -> float:
    """Percentage of True values."""
    return 100 * right.double().mean().item()
