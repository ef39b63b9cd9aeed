"""Parquet files of images, as on the Hugging Face Hub."""

from typing import Annotated, Literal

from pydantic import Field

from sslpairs.config.sources.base import OwnSource, Storage

Column = Annotated[str, Field(min_length=1, max_length=1000)]


class ParquetSettings(OwnSource):
    """Parquet files with a column of encoded images and one of labels, as on the Hugging Face Hub: a folder of them (a repository, its
    folder in the Hub's cache, or one of its configurations), or the Arrow files that its library ``datasets`` keeps of them."""

    kind: Literal["parquet"]
    image_column: Column | None = None
    """The column of the images; null: the one that the files note as images, or that is named image or img."""
    label_column: Column | None = None
    """The column of the labels, whole numbers or words; null: the one that the files note as labels, or that is named label."""
    storage: Storage = "auto"
    """Store decoded arrays, or the images' files unchanged. auto: arrays, unless they would take more than 32 GiB."""
