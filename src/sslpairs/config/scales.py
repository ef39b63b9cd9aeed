"""``config/scales/``: the data sets, networks, batch sizes and epochs that are trained for those of the papers."""

from typing import Annotated, Literal

from pydantic import Field

from sslpairs.config.backbones import Backbone
from sslpairs.config.base import Count, Model, Title
from sslpairs.config.protocols import Metric
from sslpairs.config.settings import Seeds


class Unnamed(Model):
    """Values that a table does not state, in the paper's terms."""

    backbone: str | None = None
    batch_size: Count | None = None
    epochs: Count | None = None


class Scale(Model):
    """One file of ``config/scales/``. In each map, ``default`` applies to every value that is not listed."""

    title: Title
    about: str
    """Purpose of the scale, its cost, and the hardware on which the cost was measured."""
    recipes: Annotated[dict[str, str], Field(min_length=1)]
    """The paper (a file in ``config/papers/``) -> a file in ``config/recipes/``."""
    datasets: Annotated[dict[str, str], Field(min_length=1)]
    """The paper's data set -> an entry of ``config/datasets.yaml``."""
    backbones: Annotated[dict[str, Backbone], Field(min_length=1)]
    """The paper's network -> the network to train."""
    batch_sizes: Annotated[dict[str, Count], Field(min_length=1)]
    epochs: Annotated[dict[str, Count], Field(min_length=1)]
    unnamed: dict[str, dict[str, Unnamed]] = {}
    """Where a paper's table names no network, batch size or epochs: paper -> its data set, or ``default`` -> these, in the paper's
    own words. They go before a ``default`` of the maps above, and what a table names goes before them."""
    metrics: list[Metric] = []
    """Also shown in every table whose recipe has the protocol: for metrics that resolve effects at this scale."""
    baselines: list[Literal["untrained", "pixels"]] = ["untrained", "pixels"]
    """Rows below those of every table, under the protocols that need no training: the network of each seed before its training, and
    raw pixels (of images of at most 32 pixels a side). A claim about a base method that is not shown to be above its untrained
    network says so instead of holding."""
    seeds: Seeds = [0, 1, 2]
    """Seeds of each cell, unless ``config.yaml`` or the command line has others."""
    comparable: bool
    """Whether published values of the same setting may be shown next to the results: only at the papers' own sizes."""
    threads: Annotated[int, Field(ge=1, le=64)]
    """CPU threads of a run. Part of the scale, since a different summation order changes the last digits."""
    compile: bool = False
    """Compile the networks (``torch.compile``) before each training; for long trainings only. On one GPU this takes half a minute,
    launches a step as CUDA graphs and trains a ResNet-18 1.7 to 2.5 times as fast; on a CPU it takes minutes. The last digits
    change too."""
