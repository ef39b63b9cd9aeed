"""``config/datasets.yaml``: where each data set comes from and how it is prepared."""

import os
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sslpairs.config.base import Model, Name, Title
from sslpairs.errors import shown


class Digits(Model):
    """scikit-learn's 1,797 handwritten digits, which come with the library: nothing is downloaded."""

    kind: Literal["digits"]
    size: Annotated[int, Field(ge=8, le=256)] = 16
    """Side of the square images in pixels; the originals have 8."""
    test_per_class: Annotated[int, Field(ge=1, le=150)] = 50
    """Images of each class set aside for testing, by a fixed stratified split."""


def _no_part_of_the_project(path: str) -> str:
    """Refuses what is the project's own folder, or holds it, whatever lies there."""
    if not path.strip() or os.path.normpath(path.strip()) in (".", "..", "/", "~"):
        raise ValueError(
            f"'{shown(path)}' is no folder or archive of images; write where it lies, such as sources/cifar10"
        )
    return path


class ImageFolder(Model):
    """A folder, or a .tar, .tar.gz, .tar.xz or .zip of it, with train/<class>/* and test/<class>/* or val/<class>/*."""

    kind: Literal["image-folder"]
    path: Annotated[str, AfterValidator(_no_part_of_the_project)]
    """The folder or archive; relative paths start at the project's root; ~ and $VARIABLES are expanded."""
    size: Annotated[int, Field(ge=8, le=512)]
    """Side in pixels: the shorter side is resized to it, then the centre is cropped."""
    channels: Literal[1, 3] = 3
    train_per_class: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Use only so many training images of each class (the first ones by name); null means all."""
    test_per_class: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Use only so many test images of each class (the first ones by name); null means all."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Expected digest of the archive; a different file is refused."""
    storage: Literal["auto", "arrays", "files"] = "auto"
    """Keep decoded arrays, or the files as they are; auto: arrays, unless they would take more than 32 GiB. Results are the same."""


class Expected(Model):
    """How many images a data set has, as its authors say."""

    train: Annotated[int, Field(ge=1, le=1_000_000_000)]
    test: Annotated[int, Field(ge=1, le=1_000_000_000)]


class Dataset(Model):
    """One data set."""

    title: Title
    """The name that tables print, for example 'CIFAR-10 (JPEG)'."""
    source: Annotated[Digits | ImageFolder, Field(discriminator="kind")]
    expected: Expected | None = None
    """How many images ``sslpairs fetch`` must find; another number is refused. No part of the content or of a run's name."""


class Datasets(Model):
    """The whole of ``config/datasets.yaml``."""

    datasets: dict[Name, Dataset]
