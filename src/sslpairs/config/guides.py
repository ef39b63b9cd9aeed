"""Guides: the embeddings by which SPPS and GPS look for images that are alike."""

from typing import Annotated, Literal

from pydantic import Field

from sslpairs.config.base import Model

Layer = Literal["backbone", "projection"]
"""Features of the backbone, or raw projections of the method's head."""


class PixelGuide(Model):
    """Similarity of the raw pixels."""

    kind: Literal["pixels"]


class RandomGuide(Model):
    """Similarity under an untrained network of the run's own architecture."""

    kind: Literal["random"]


class RunGuide(Model):
    """Similarity under the backbone that another run of the workflow trained: an edge in the DAG."""

    kind: Literal["run"]
    method: str
    """Label of that run's method, for example 'simclr': same data, network, epochs and seed, the scale's default batch
    size, and the recipe as it stands (without the changes of a table's ``set``)."""
    augmentation: str
    """Name of one of the recipe's augmentations."""
    layer: Layer
    """Ours: no source says which layer SPPS compares; GPS's code takes pooled backbone features."""


class CheckpointGuide(Model):
    """A ``RunGuide`` after planning: the run has a name. Not for recipes."""

    kind: Literal["checkpoint"]
    run: str
    layer: Layer


Guide = Annotated[PixelGuide | RandomGuide | RunGuide | CheckpointGuide, Field(discriminator="kind")]
