"""The ``online`` protocol: a linear layer trained along with the backbone, on detached features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sslpairs.backbones.features import features
from sslpairs.config.optimization import OnlineClassifierSettings
from sslpairs.data.arrays import ImageData
from sslpairs.methods.base import Embeddings
from sslpairs.random_streams import stream_seed


class OnlineClassifier:
    """The linear layer and its optimiser. It never touches the backbone: features are detached."""

    def __init__(
        self,
        settings: OnlineClassifierSettings,
        width: int,
        classes: int,
        seed: int,
        device: torch.device,
        unlabelled: bool = False,
    ):
        """``unlabelled``: some images have no label (``UNLABELLED``). The layer never learns from these."""
        self.unlabelled = unlabelled
        with torch.random.fork_rng():
            torch.manual_seed(stream_seed(seed, "online"))
            self.layer = nn.Linear(width, classes).to(device)
        self.optimizer = torch.optim.Adam(
            self.layer.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True
        )

    @torch.no_grad()
    def learn(self, clean: Sequence[Embeddings], labels: Sequence[Tensor]) -> None:
        """One step on the views that the online network has processed; each view has the label of its own source image.

        The gradient of the mean cross entropy is computed directly: with autograd a step takes half as long again.
        """
        seen = [
            (emb.features.detach().float(), y) for emb, y in zip(clean, labels, strict=True) if emb.features is not None
        ]
        h, y = (torch.cat(parts) for parts in zip(*seen, strict=True))
        # Classes first: the softmax takes a seventh of the time in this layout.
        grad = torch.addmm(self.layer.bias[:, None], self.layer.weight, h.T).softmax(0)
        if self.unlabelled:
            known = (y >= 0).to(grad.dtype)
            grad.scatter_add_(0, y.clamp(min=0)[None], grad.new_full((1, len(y)), -1.0))
            grad.mul_(known).div_(known.sum().clamp(min=1))
        else:
            grad.scatter_add_(0, y[None], grad.new_full((1, len(y)), -1.0)).div_(len(y))
        self.layer.weight.grad, self.layer.bias.grad = grad @ h, grad.sum(1)
        self.optimizer.step()

    @torch.no_grad()
    def right(self, backbone: nn.Module, data: ImageData) -> Tensor:
        """Whether each test image is classified correctly: bool ``[Q]``."""
        predicted = self.layer(features(backbone, data.test.images, data.mean, data.std)).argmax(1)
        return predicted == data.test.labels

    def state(self) -> dict:
        """State for resuming."""
        return {"layer": self.layer.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict) -> None:
        """Continue from a saved state."""
        self.layer.load_state_dict(state["layer"])
        self.optimizer.load_state_dict(state["optimizer"])
