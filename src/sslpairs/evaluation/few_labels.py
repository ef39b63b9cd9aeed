"""The ``few_labels`` protocol: how well classes are told apart when few images are labelled, the standard test of label efficiency."""

import torch
from torch import Tensor

from sslpairs.config.protocols.few_labels import FewLabelsSettings
from sslpairs.evaluation.encoded import Encoded, standardise
from sslpairs.random_streams import generator

ROWS = 1 << 14
"""Images whose features are brought to float64 at once."""


def measure(settings: FewLabelsSettings, encoded: Encoded) -> dict[str, float]:
    """Top-1 in percent, mean over draws of the labelled images, with ``per_class`` labels a class and with a ``share`` of all labels.

    Features are standardised by all training images, which takes no labels.
    """
    (known, labels), (asked, answers) = encoded.train, encoded.test
    known, asked = standardise(known, asked)
    penalty = settings.penalty * known.shape[1]
    right = {metric: torch.zeros_like(answers) for metric in ("per_class", "share")}
    for draw in range(settings.draws):
        for metric, rows in labelled(labels, settings, draw).items():
            weight, bias = ridge(known[rows], labels[rows], encoded.classes, penalty)
            for queries, wanted, count in zip(*(x.split(ROWS) for x in (asked, answers, right[metric])), strict=True):
                count += torch.addmm(bias, queries.double(), weight).argmax(1) == wanted
    for metric, count in right.items():
        encoded.keep(metric, count, settings.draws)
    return {metric: 100 * count.sum().item() / (settings.draws * len(answers)) for metric, count in right.items()}


def labelled(labels: Tensor, settings: FewLabelsSettings, draw: int) -> dict[str, Tensor]:
    """Metric -> indices of the images that are labelled in a draw, int64: of each class the first ones in the order of the draw.

    They depend on nothing but the labels and the number of the draw.
    """
    order = torch.randperm(len(labels), generator=generator(0, "few_labels", draw)).to(labels.device)
    by_class = order[labels[order].argsort(stable=True)]
    counts = labels.bincount()
    rank = torch.arange(len(labels), device=labels.device) - (counts.cumsum(0) - counts)[labels[by_class]]
    most = counts.mul(settings.share).round().long().clamp(min=1)[labels[by_class]]
    return {"per_class": by_class[rank < settings.per_class], "share": by_class[rank < most]}


def ridge(features: Tensor, labels: Tensor, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights ``[D, C]`` and biases ``[C]``, float64, of the least squares of one-hot labels with a penalty on the squared weights.

    ``features`` is ``[N, D]``, ``labels`` int64 ``[N]``. Solved in the smaller of both sizes; the biases are not penalised.
    """
    count, width = features.shape
    x, y = features.double(), torch.nn.functional.one_hot(labels, classes).double()
    mean, share = x.mean(0), y.mean(0)
    x, y = x - mean, y - share
    weight = x.T @ _solve(x @ x.T, y, penalty) if count <= width else _solve(x.T @ x, x.T @ y, penalty)
    return weight, share - mean @ weight


def _solve(matrix: Tensor, right: Tensor, penalty: float) -> Tensor:
    matrix.diagonal().add_(penalty)
    return torch.cholesky_solve(right, torch.linalg.cholesky(matrix))
