"""The ``linear`` protocol: a linear layer trained on frozen features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslpairs.config.recipes import Linear
from sslpairs.streams import generator, stream_seed
from sslpairs.training.optimization import base_rate, build_optimizer, rate_factor, set_rate


def evaluate_linear(
    how: Linear, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], classes: int, seed: int
) -> dict[str, float | int]:
    """Top-1 in percent after the last epoch, and of the best epoch (chosen on the test images, as the released codes do).

    ``train`` and ``test`` are features ``[N, D]`` and labels ``[N]`` on one device.
    """
    x, y = train
    queries, answers = test
    if how.standardize:
        mean, std = x.mean(0), x.std(0, correction=0)
        # A feature that never varies says nothing; it must not become infinite.
        std = torch.where(std > 1e-6 * std.max(), std, torch.inf)
        x, queries = (x - mean) / std, (queries - mean) / std
    with torch.random.fork_rng():
        torch.manual_seed(stream_seed(seed, "linear"))
        layer = nn.Linear(x.shape[1], classes).to(x.device)
    batch = min(how.batch_size, len(x))
    optimizer = build_optimizer(how.optimizer, [layer], batch)
    steps = -(-len(x) // batch)
    correct = []
    for epoch in range(how.epochs):
        order = torch.randperm(len(x), generator=generator(seed, "linear", epoch)).to(x.device)
        for number, rows in enumerate(order.split(batch)):
            factor = rate_factor(how.schedule, epoch * steps + number, steps, how.epochs)
            set_rate(optimizer, base_rate(how.optimizer, batch) * factor)
            loss = F.cross_entropy(layer(x[rows]), y[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            correct.append((layer(queries).argmax(1) == answers).double().mean())
    accuracy = (100 * torch.stack(correct)).tolist()
    best = max(accuracy)
    return {"last": accuracy[-1], "best": best, "best_epoch": accuracy.index(best) + 1}
