"""The ``knn`` protocol: a weighted vote of the nearest training images."""

import torch.nn.functional as F
from torch import Tensor

from sslpairs.backbones.nearest import smallest_products
from sslpairs.config.protocols import KNN
from sslpairs.errors import UserError


def knn_predict(features: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float, classes: int) -> Tensor:
    """Classes of the queries, int64 ``[Q]``: votes of the k nearest by cosine, weighted by exp(cosine / temperature).

    ``features`` is ``[N, D]``, ``labels`` int64 ``[N]``, ``queries`` ``[Q, D]`` (Wu et al. 2018, arXiv 1805.01978).
    Raises ``ValueError`` when there are not k images.
    """
    if not 1 <= k <= len(features):
        raise ValueError(f"{k} neighbours of {len(features)} images: choose a number from 1 to {len(features)}")
    known, asked = F.normalize(features, dim=1), F.normalize(queries, dim=1)
    opposite, index = smallest_products(-asked, known, k)
    # Weights relative to the nearest image's: the same vote, and small temperatures do not overflow.
    weight = ((opposite[:, :1] - opposite) / temperature).exp()
    votes = weight.new_zeros(len(asked), classes)
    return votes.scatter_add_(1, labels[index], weight).argmax(1)


def evaluate_knn(how: KNN, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], classes: int) -> dict[str, float]:
    """Top-1 in percent; ``train`` and ``test`` are features ``[N, D]`` and labels ``[N]``."""
    try:
        predicted = knn_predict(*train, test[0], how.neighbours, how.temperature, classes)
    except ValueError as error:
        raise UserError(f"evaluation.knn.neighbours: {error}") from None
    return {"last": 100 * (predicted == test[1]).double().mean().item()}
