"""Guides: the embeddings in which SPPS and GPS look for similar images."""

from typing import Annotated, Literal

from pydantic import Field

from sslpairs.config.base import Model, Name

Layer = Literal["backbone", "projection"]
"""Features of the backbone, or raw projections of the method's head."""


Distance = Literal["euclidean", "cosine"]
"""Of the encoder's features as they are (released: utils/misc.py:579-602), or with unit length: neighbours are then those of largest
cosine similarity, and a radius is a squared distance on the unit sphere."""
Size = Annotated[int, Field(ge=8, le=1024)]


class EncoderIdentity(Model):
    """What an encoder's features depend on; see ``EncoderSettings.identity``."""

    kind: Literal["torchvision"]
    network: str
    sha256: str
    keys: Literal["named", "ordered"]


class PixelGuide(Model):
    """Similarity of the raw pixels."""

    kind: Literal["pixels"]


class RandomGuide(Model):
    """Similarity under an untrained network of the run's own architecture."""

    kind: Literal["random"]


class RunGuide(Model):
    """Similarity under the backbone of another run of the workflow: an edge in the DAG."""

    kind: Literal["run"]
    method: str
    """Label of that run's method, for example 'simclr': same data, network, epochs and seed, the scale's default batch
    size, and the recipe as it is (without the changes of a table's ``set``)."""
    augmentation: str
    """Name of one of the recipe's augmentations."""
    layer: Layer
    """Ours: no source says which layer SPPS compares; GPS's code takes pooled backbone features."""


class EncoderGuide(Model):
    """Similarity under an encoder of ``config/encoders.yaml``, which others have trained."""

    kind: Literal["encoder"]
    encoder: Name
    size: Size | None
    """Side in pixels to which the images are resized; null for the data set's own (released: CIFAR-10 stays at 32). An encoder for
    ImageNet sees more at 128 and above."""
    statistics: Literal["own", "data"]
    """Mean and standard deviation that the images are normalised with: the encoder's, or the data set's (released:
    data/pretrain_dataloader.py:283-317)."""
    distance: Distance


class WeightsGuide(Model):
    """An ``EncoderGuide`` after planning: its weights by their digest, wherever they are. Not for recipes."""

    kind: Literal["weights"]
    encoder: EncoderIdentity
    size: Size | None
    mean: list[float] | None
    """None for the data set's."""
    std: list[float] | None
    distance: Distance


class CheckpointGuide(Model):
    """A ``RunGuide`` after planning, with the id of the run. Not for recipes."""

    kind: Literal["checkpoint"]
    run: str
    layer: Layer


Guide = Annotated[
    PixelGuide | RandomGuide | RunGuide | EncoderGuide | CheckpointGuide | WeightsGuide, Field(discriminator="kind")
]


PLANNED = {"checkpoint": "kind: run and a method, such as method: simclr", "weights": "kind: encoder and its name"}
"""Guides that only plans have, and what to write in a recipe instead."""


def words(guide: dict) -> str:
    """A guide of a recipe in words, for tables."""
    if guide["kind"] == "encoder":
        released = ", the data's statistics" * (guide["statistics"] == "data")
        size = f" at {guide['size']} px" if guide["size"] else ""
        return f"{guide['encoder']}{size}, {guide['distance']}{released}"
    return " ".join(guide[key] for key in ("kind", "method") if key in guide)
