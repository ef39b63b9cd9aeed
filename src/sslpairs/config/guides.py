"""Guides: the embeddings in which SPPS and GPS look for similar images."""

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
    """Similarity under the backbone of another run of the workflow: an edge in the DAG."""

    kind: Literal["run"]
    method: str
    """Label of that run's method, for example 'simclr': same data, network, epochs and seed, the scale's default batch
    size, and the recipe as it is (without the changes of a table's ``set``)."""
    augmentation: str
    """Name of one of the recipe's augmentations."""
    layer: Layer
    """Ours: no source says which layer SPPS compares; GPS's code takes pooled backbone features."""


class CheckpointGuide(Model):
    """A ``RunGuide`` after planning, with the id of the run. Not for recipes."""

    kind: Literal["checkpoint"]
    run: str
    layer: Layer


Guide = Annotated[PixelGuide | RandomGuide | RunGuide | CheckpointGuide, Field(discriminator="kind")]
