"""Shards in the WebDataset format."""

from typing import Annotated, Literal

from pydantic import Field

from sslpairs.config.base import Title
from sslpairs.config.sources.base import OwnSource, Storage


class WebdatasetSettings(OwnSource):
    """Tar archives in the WebDataset format, with an image and a label for each key: a folder of them, a single one, or a pattern with
    braces, such as ``shards/name-{train-{0000..0003},val-00}.tar``."""

    kind: Literal["webdataset"]
    classes: Annotated[list[Title], Field(min_length=1)] | Annotated[str, Field(min_length=1)] | None = None
    """The names of the labels 0, 1, ..., or a file with one in each line (relative to the shards' folder). null: the numbers."""
    storage: Storage = "auto"
    """Store decoded arrays, or the images' files unchanged. auto: arrays, unless they would take more than 32 GiB."""
