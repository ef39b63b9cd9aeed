"""A table of images: their files, classes and splits."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sslpairs.config.sources.base import OwnSource, SourcePath, Storage


def _braces_in_pairs(template: str) -> str:
    if set(re.sub(r"\{[^{}]*[^{}\s][^{}]*\}", "", template)) & set("{}"):
        raise ValueError(f"'{template}': put the name of each column in braces: train_images/{{chain}}/{{image}}")
    return template


Column = Annotated[str, Field(min_length=1, max_length=300)]


class CSVSettings(OwnSource):
    """A CSV or TSV file with a header and a row for each image: its path, its label and, if there is such a column, its split: train,
    test, val (or valid, validation) or unlabelled.

    An empty label is an image without one, which is only trained on. Classes are the labels, sorted as text. Those without test images
    are counted; one that has no training images is an error, since nothing is learnt about it.
    """

    kind: Literal["csv"]
    path: SourcePath
    """The file, or a folder with one such file; relative paths start at the project's root; ~ and $VARIABLES are expanded."""
    images: Annotated[str, Field(min_length=1)] | None = None
    """The folder or archive from which the paths in the table start; null: the folder of the table, from which this setting starts too."""
    path_column: Annotated[Column, AfterValidator(_braces_in_pairs)] = "path"
    """The column of the paths, or how they are made of columns in braces: train_images/{chain}/{image}."""
    label_column: Column = "label"
    """The column of the labels."""
    split_column: Column | None = None
    """The column of the splits; null: split, if there is one."""
    storage: Storage = "auto"
    """Store decoded arrays, or the files unchanged. auto: arrays, unless they would take more than 32 GiB. Results are identical."""

    def record(self) -> dict[str, Any]:
        """Return the entry with only the file name of ``images``, too."""
        return super().record() | {"images": self.images and Path(self.images).name}
