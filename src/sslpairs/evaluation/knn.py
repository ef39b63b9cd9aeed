"""The ``knn`` protocol: a weighted vote of the nearest training images."""

import torch.nn.functional as F
from torch import Tensor

from sslpairs.backbones.nearest import smallest_products
from sslpairs.config.protocols.knn import KNNSettings
from sslpairs.errors import UserError
from sslpairs.evaluation.encoded import Encoded, hits, percent


def knn_votes(features: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float, classes: int) -> Tensor:
    """Votes of the k nearest by cosine, weighted by exp(cosine / temperature): ``[Q, C]``, each row up to a factor.

    ``features`` is ``[N, D]``, ``labels`` int64 ``[N]``, ``queries`` ``[Q, D]`` (Wu et al. 2018, arXiv 1805.01978).
    Raises ``ValueError`` if there are fewer than k images.
    """
    if not 1 <= k <= len(features):
        raise ValueError(f"{k} neighbours of {len(features)} images: choose a number from 1 to {len(features)}")
    known, asked = F.normalize(features, dim=1), F.normalize(queries, dim=1)
    opposite, index = smallest_products(-asked, known, k)
    # Weights relative to the nearest image's: the vote is the same, and small temperatures do not overflow.
    weight = ((opposite[:, :1] - opposite) / temperature).exp()
    votes = weight.new_zeros(len(asked), classes)
    return votes.scatter_add_(1, labels[index], weight)


def knn_predict(features: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float, classes: int) -> Tensor:
    """Predicted classes of the queries, int64 ``[Q]``: those with the most ``knn_votes``."""
    return knn_votes(features, labels, queries, k, temperature, classes).argmax(1)


def measure(settings: KNNSettings, encoded: Encoded) -> dict[str, float]:
    """Top-1 and top-5 in percent."""
    (known, labels), (asked, answers) = encoded.train, encoded.test
    try:
        votes = knn_votes(known, labels, asked, settings.neighbours, settings.temperature, encoded.classes)
    except ValueError as error:
        raise UserError(f"evaluation.knn.neighbours: {error}") from None
    right = votes.argmax(1) == answers
    encoded.keep("top1", right)
    return {"top1": percent(right), "top5": percent(hits(votes, answers, 5))}
