"""The ``online`` protocol: a linear layer that learns beside the backbone, from detached features."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sslpairs.backbones.features import features
from sslpairs.config.recipes import Online
from sslpairs.data.arrays import ImageData
from sslpairs.methods.base import Emb
from sslpairs.streams import stream_seed


class OnlineClassifier:
    """The linear layer and its Adam. It never touches the backbone: features are detached.

    The gradient of the mean cross entropy and Adam are written out: through autograd and ``torch.optim``, a step of this small
    layer takes three times as long, which is 2 % of a step of a small network.
    """

    def __init__(self, how: Online, width: int, classes: int, seed: int, device: torch.device):
        with torch.random.fork_rng():
            torch.manual_seed(stream_seed(seed, "online"))
            self.layer = nn.Linear(width, classes).to(device).requires_grad_(False)
        self.how, self.steps = how, 0
        self.weights = list(self.layer.parameters())
        self.means = [torch.zeros_like(weight) for weight in self.weights]
        """Of the gradients, moving."""
        self.squares = [torch.zeros_like(weight) for weight in self.weights]

    @torch.no_grad()
    def learn(self, clean: Sequence[Emb], labels: Sequence[Tensor]) -> None:
        """One step on the views that the online network has seen; each view has the label of its own source image."""
        seen = [(emb.h.detach().float(), y) for emb, y in zip(clean, labels, strict=True) if emb.h is not None]
        h, y = (torch.cat(parts) for parts in zip(*seen, strict=True))
        # Classes first, in which the softmax takes a seventh of the time.
        slope = torch.addmm(self.layer.bias[:, None], self.layer.weight, h.T).softmax(0)
        slope.scatter_add_(0, y[None], slope.new_full((1, len(y)), -1.0)).div_(len(y))
        self._adam([slope @ h, slope.sum(1)])

    def _adam(self, slopes: list[Tensor]) -> None:
        """A step as ``torch.optim.Adam`` takes it, with its betas and epsilon."""
        self.steps += 1
        rate, root = self.how.lr / (1 - 0.9**self.steps), math.sqrt(1 - 0.999**self.steps)
        for weight, slope, mean, square in zip(self.weights, slopes, self.means, self.squares, strict=True):
            if self.how.weight_decay:
                slope = slope.add(weight, alpha=self.how.weight_decay)
            mean.lerp_(slope, 0.1)
            square.mul_(0.999).addcmul_(slope, slope, value=0.001)
            weight.addcdiv_(mean, square.sqrt().div_(root).add_(1e-8), value=-rate)

    @torch.no_grad()
    def accuracy(self, backbone: nn.Module, data: ImageData) -> float:
        """Top-1 on the test images, in percent."""
        predicted = self.layer(features(backbone, data.test.images, data.mean, data.std)).argmax(1)
        return 100 * (predicted == data.test.labels).double().mean().item()

    def state(self) -> dict:
        """For resuming."""
        return {
            "layer": self.layer.state_dict(),
            "steps": self.steps,
            "means": self.means,
            "squares": self.squares,
        }

    def restore(self, state: dict) -> None:
        """Go on from a saved state."""
        self.layer.load_state_dict(state["layer"])
        self.steps = state["steps"]
        for kept, saved in zip(self.means + self.squares, state["means"] + state["squares"], strict=True):
            kept.copy_(saved)
