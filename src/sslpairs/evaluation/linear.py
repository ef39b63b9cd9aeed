"""The ``linear`` protocol: a linear layer trained on frozen features."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from sslpairs.config.optimization import OptimizerSettings
from sslpairs.config.protocols.linear import LinearSettings
from sslpairs.evaluation.encoded import Encoded, hits, percent, standardise
from sslpairs.random_streams import generator, stream_seed
from sslpairs.training.optimization import base_rate, build_optimizer, rate_factor, set_rate

GATHERED_ENTRIES = 1 << 20
"""Features that are reordered for an epoch at once (at least one batch): 4 MB in float32, to stay in the cache."""
LOGITS = 1 << 24
"""Logits of test images held at once: 64 MB in float32."""


def measure(settings: LinearSettings, encoded: Encoded) -> dict[str, float]:
    """Top-1 and top-5 in percent after the last epoch, and top-1 of the best epoch (chosen on the test images, as in the released
    code)."""
    (x, y), (queries, answers) = encoded.train, encoded.test
    if settings.standardize:
        x, queries = standardise(x, queries)
    correct = []
    for weight, bias in linear_layers(settings, x, y, encoded.classes, encoded.seed):
        right = _predict(queries, weight, bias) == answers
        correct.append(right.double().mean())
    accuracy = (100 * torch.stack(correct)).tolist()
    best = max(accuracy)
    encoded.keep("top1", right)
    among = torch.cat([hits(scores, wanted, 5) for scores, wanted in _scores(queries, answers, weight, bias)])
    return {"top1": accuracy[-1], "top5": percent(among), "best_top1": best, "best_epoch": accuracy.index(best) + 1}


@torch.no_grad()
def linear_layers(
    settings: LinearSettings, x: Tensor, y: Tensor, classes: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The layer after each epoch, weights ``[C, D]`` and biases ``[C]``: the same two tensors each time, which continue to learn.

    ``x`` is ``[N, D]``, ``y`` int64 ``[N]``. Minimises the cross-entropy as ``torch.nn.Linear`` and the recipe's optimiser
    would; the gradient is computed directly, so that a step has few and large operations.
    """
    batch = min(settings.batch_size, len(x))
    values = _start(x, classes, seed)
    grads = torch.zeros_like(values)
    (weight, bias), (weight_grad, bias_grad) = _parts(values, classes), _parts(grads, classes)
    kept, update = _updater(settings.optimizer, values, grads, classes, batch)
    steps = -(-len(x) // batch)
    minus_one = x.new_full((1, batch), -1.0)
    share = {size: x.new_full((size,), 1 / size) for size in {batch, len(x) - (steps - 1) * batch}}
    gathered = x.new_empty(max(1, min(steps, GATHERED_ENTRIES // (batch * x.shape[1]))) * batch, x.shape[1])
    for epoch in range(settings.epochs):
        order = torch.randperm(len(x), generator=generator(seed, "linear", epoch)).to(x.device)
        step = epoch * steps
        for rows in order.split(len(gathered)):
            images = torch.index_select(x, 0, rows, out=gathered[: len(rows)])
            labels = y[rows][None]
            for features, right in zip(images.split(batch), labels.split(batch, dim=1), strict=True):
                size = len(features)
                # Classes by images: the layout in which all of these are fast with few classes.
                grad = torch.addmm(bias[:, None], weight, features.T).softmax(0)
                grad.scatter_add_(0, right, minus_one[:, :size])
                torch.addmm(weight_grad, grad, features, beta=kept, alpha=1 / size, out=weight_grad)
                torch.addmv(bias_grad, grad, share[size], beta=kept, out=bias_grad)
                update(
                    base_rate(settings.optimizer, batch) * rate_factor(settings.schedule, step, steps, settings.epochs)
                )
                step += 1
        yield weight, bias


def _start(x: Tensor, classes: int, seed: int) -> Tensor:
    """Weights and biases as initialised by ``torch.nn.Linear``, in one row."""
    with torch.random.fork_rng():
        torch.manual_seed(stream_seed(seed, "linear"))
        layer = nn.Linear(x.shape[1], classes)
    return torch.cat([layer.weight.flatten(), layer.bias]).to(x)


def _parts(row: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Weights ``[C, D]`` and biases ``[C]`` of one row."""
    return row[:-classes].view(classes, -1), row[-classes:]


def _updater(
    settings: OptimizerSettings, values: Tensor, grads: Tensor, classes: int, batch: int
) -> tuple[float, Callable[[float], None]]:
    """The factor on the gradients so far when new ones are added, and a function that then updates the values at a given rate."""
    if settings.name == "sgd":
        # torch.optim.SGD's formula, with the gradients as its momentum; its own step takes a third of the time of a small layer's.
        def update(rate: float) -> None:
            if settings.weight_decay:
                grads.add_(values, alpha=settings.weight_decay)
            values.sub_(grads, alpha=rate)

        return settings.momentum, update

    layer = nn.Module()
    for name, value, grad in zip(("weight", "bias"), _parts(values, classes), _parts(grads, classes), strict=True):
        parameter = nn.Parameter(value)
        parameter.grad = grad
        layer.register_parameter(name, parameter)
    optimizer = build_optimizer(settings, [layer], batch)

    def update(rate: float) -> None:
        set_rate(optimizer, rate)
        optimizer.step()

    return 0.0, update


def _predict(queries: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Most probable classes, int64 ``[Q]``."""
    return torch.cat([scores.argmax(1) for scores, _ in _scores(queries, queries, weight, bias)])


def _scores(queries: Tensor, beside: Tensor, weight: Tensor, bias: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits of the classes ``[rows, C]`` in bounded memory, and the same rows of ``beside``."""
    rows = max(1, LOGITS // len(weight))
    for part, other in zip(queries.split(rows), beside.split(rows), strict=True):
        yield torch.addmm(bias, part, weight.T), other
