"""``config/datasets.yaml``: the source of each data set and how it is prepared."""

from typing import Annotated

from pydantic import Field

from sslpairs.config.base import Model, Name, Title
from sslpairs.config.sources import AnySource


class Expected(Model):
    """Number of images of a data set according to its authors."""

    train: Annotated[int, Field(ge=1, le=1_000_000_000)]
    test: Annotated[int, Field(ge=1, le=1_000_000_000)]


class DatasetSettings(Model):
    """One data set."""

    title: Title
    """Name printed in tables, for example 'CIFAR-10 (JPEG)'."""
    source: AnySource
    expected: Expected | None = None
    """Number of images that ``sslpairs fetch`` must find; any other number is an error. Not part of the content or of a run's name.
    Published data sets have the authors' numbers without it."""

    @property
    def heading(self) -> str:
        """The title, with a remark if the files need not be the authors' own."""
        return self.title if getattr(self.source, "original", True) else f"{self.title} (not the original files)"


class Datasets(Model):
    """The whole of ``config/datasets.yaml``."""

    datasets: dict[Name, DatasetSettings]
