"""What a guide makes of the training images: an embedding, computed once, from un-augmented images."""

from pathlib import Path

from torch import Tensor

from sslpairs.backbones.checkpoint import check_digest, load_backbone
from sslpairs.backbones.features import features
from sslpairs.config.recipes import Guide
from sslpairs.data.arrays import ImageData
from sslpairs.methods.build import fresh_backbone
from sslpairs.plan.build import run_folder
from sslpairs.plan.spec import RunSpec


def embed(guide: Guide, spec: RunSpec, data: ImageData, root: Path) -> Tensor:
    """Embedding ``[N, D]`` of all training images under the guide of a run, on the data's device, float32.

    Pixels are flattened on the scale 0 to 1; networks give the features of the backbone.
    """
    images = data.train.images
    if guide.kind == "pixels":
        return images.flatten(1).float() / 255
    if guide.kind == "random":
        network, _ = fresh_backbone(spec, images.shape[1], stream="guide")
    else:
        path = root / run_folder(guide.run) / "checkpoint.pt"
        check_digest(path)
        network = load_backbone(path, images.shape[1])
    return features(network.to(images.device), images, data.mean, data.std)
