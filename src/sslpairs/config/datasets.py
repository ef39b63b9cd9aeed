"""``config/datasets.yaml``: where each data set comes from and how it is prepared."""

from typing import Annotated

from pydantic import Field

from sslpairs.config.base import Model, Name, Title
from sslpairs.config.sources import AnySource


class Expected(Model):
    """How many images a data set has, as its authors say."""

    train: Annotated[int, Field(ge=1, le=1_000_000_000)]
    test: Annotated[int, Field(ge=1, le=1_000_000_000)]


class Dataset(Model):
    """One data set."""

    title: Title
    """The name that tables print, for example 'CIFAR-10 (JPEG)'."""
    source: AnySource
    expected: Expected | None = None
    """How many images ``sslpairs fetch`` must find; another number is refused. No part of the content or of a run's name."""


class Datasets(Model):
    """The whole of ``config/datasets.yaml``."""

    datasets: dict[Name, Dataset]
