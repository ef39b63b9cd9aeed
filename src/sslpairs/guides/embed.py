"""A guide's embedding of the training images, computed once, from un-augmented images."""

from pathlib import Path

from torch import Tensor, nn

from sslpairs.backbones.checkpoint import check_digest, load, load_backbone
from sslpairs.backbones.features import features, pixels
from sslpairs.config.guides import Guide
from sslpairs.data.arrays import ImageData
from sslpairs.errors import UserError
from sslpairs.guides.pretrained import embed_under
from sslpairs.methods.base import BaseMethod
from sslpairs.methods.build import build_method, fresh_backbone
from sslpairs.pairs.build import build_pairs
from sslpairs.plan.paths import checkpoint_file
from sslpairs.plan.records import Receipt
from sslpairs.plan.spec import RunSpec


def embed(guide: Guide, spec: RunSpec, data: ImageData, root: Path) -> Tensor:
    """Embedding ``[N, D]`` of all training images under the guide of a run, on the data's device, float32.

    Pixels are flattened on the scale 0 to 1; networks give the features of the backbone, or raw projections if the guide
    requests them. ``UserError`` if weights are missing or damaged.
    """
    images = data.train.images
    if guide.kind == "pixels":
        return pixels(images)
    if guide.kind == "weights":
        return embed_under(guide, data, root)
    if guide.kind == "random":
        network, _ = fresh_backbone(spec, *images.shape[1:3], stream="guide")
    else:
        path = root / checkpoint_file(guide.run)
        receipt = check_digest(path, root)
        projects = guide.layer == "projection"
        shape = images.shape[1:3]
        network = Projection(_load_method(path, receipt, *shape)) if projects else load_backbone(path, *shape)
    return features(network.to(images.device), images, data.mean, data.std)


class Projection(nn.Module):
    """A method's raw projections, as a network from images ``[N, C, H, W]`` to ``[N, D]``."""

    def __init__(self, method: BaseMethod):
        super().__init__()
        self.method = method

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.method.project(x)


def embed_with(method: BaseMethod, layer: str, data: ImageData) -> Tensor:
    """Embedding ``[N, D]`` of all training images under the network in training, whose modes are restored."""
    modes = {module: module.training for module in method.modules()}
    network = method.backbone if layer == "backbone" else Projection(method)
    embedding = features(network, data.train.images, data.mean, data.std)
    for module, training in modes.items():
        module.training = training
    return embedding


def _load_method(path: Path, receipt: Receipt, channels: int, size: int) -> BaseMethod:
    """The whole method of a checkpoint, from its receipt."""
    spec = RunSpec.model_validate(receipt["spec"])
    method = build_method(spec, channels, size)
    for strategy in build_pairs(spec):
        strategy.wrap(method)
    try:
        method.load_state_dict(load(path)["method"])
    except (KeyError, RuntimeError):
        raise UserError(
            f"{path}: does not hold the networks of its run; delete {path.parent} and build again"
        ) from None
    return method
