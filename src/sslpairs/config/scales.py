"""``config/scales/``: what stands for a paper's data set, network, batch size and epochs."""

from typing import Annotated

from pydantic import Field

from sslpairs.config.backbones import Backbone
from sslpairs.config.base import Count, Model, Title


class Unnamed(Model):
    """What a table leaves open, in the paper's own words."""

    backbone: str | None = None
    batch_size: Count | None = None
    epochs: Count | None = None


class Scale(Model):
    """One file of ``config/scales/``. In each map, ``default`` stands for every value that is not listed."""

    title: Title
    about: str
    """What the scale is good for, its cost, and the hardware on which that was seen."""
    recipes: Annotated[dict[str, str], Field(min_length=1)]
    """The paper (a file of ``config/papers/``) -> a file of ``config/recipes/``."""
    datasets: Annotated[dict[str, str], Field(min_length=1)]
    """The paper's data set -> an entry of ``config/datasets.yaml``."""
    backbones: Annotated[dict[str, Backbone], Field(min_length=1)]
    """The paper's network -> the network to train."""
    batch_sizes: Annotated[dict[str, Count], Field(min_length=1)]
    epochs: Annotated[dict[str, Count], Field(min_length=1)]
    unnamed: dict[str, dict[str, Unnamed]] = {}
    """Where a paper's table names no network, batch size or epochs: paper -> its data set, or ``default`` -> these, in the paper's
    own words. They go before a ``default`` of the maps above, and what a table names goes before them."""
    comparable: bool
    """Whether published values of the same setting may stand beside the results: only at the papers' own sizes."""
    threads: Annotated[int, Field(ge=1, le=64)]
    """Processor threads of a run: part of the scale, since sums in another order give other last digits."""
    compile: bool = False
    """Let torch compile the networks (``torch.compile``) before each training: for long trainings only. On one GPU it takes half a
    minute, launches a step as CUDA graphs and trains a ResNet-18 1.7 to 2.5 times as fast; on a CPU it takes minutes. Other last
    digits too."""
