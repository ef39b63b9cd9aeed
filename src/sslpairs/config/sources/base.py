"""Base classes of the settings of all kinds of data sets."""

import os
from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from sslpairs.config.base import Model
from sslpairs.config.remote import RemoteFile
from sslpairs.errors import shown


def _no_part_of_the_project(path: str) -> str:
    """Refuse the project's own folder and any folder that contains it."""
    if not path.strip() or os.path.normpath(path.strip()) in (".", "..", "/", "~"):
        raise ValueError(
            f"'{shown(path)}' is not a folder or archive of images; write its path, such as sources/cifar10"
        )
    return path


SourcePath = Annotated[str, AfterValidator(_no_part_of_the_project)]
Side = Annotated[int, Field(ge=8, le=512)]
PerClass = Annotated[int, Field(ge=1, le=1_000_000_000)]
Storage = Literal["auto", "arrays", "files"]


class Source(Model):
    """Settings of a source: where images come from, and the size to which they are resized.

    ``kind`` is the name of its file, with hyphens. The file of the same name in ``sslpairs.data.kinds`` has
    ``open_source(name, source, path)``, which returns an ``Opened``. ``path`` is a file or folder that exists, or None for a kind
    without a setting of that name.
    """

    kind: str
    upright: ClassVar[bool] = True
    """Whether photographs are turned as their EXIF says."""

    @abstractmethod
    def image(self) -> tuple[int, int]:
        """Return the channels and the side of the square images in pixels."""

    def counts(self) -> tuple[int, int] | None:
        """Return the number of training and test images if the settings determine it."""

    def unlabelled(self) -> int:
        """Return how many of the training images have no label; evaluations never use these."""
        return 0

    def record(self) -> dict[str, Any]:
        """Return the entry for receipts: all settings that determine the images."""
        return self.model_dump()


class PublishedSource(Source):
    """A data set that others have published: it is found where it lies on this machine, or downloaded.

    Facts are attributes of the class. What ``open_source`` gets as ``path`` is a file or a folder that holds the data in any of its
    forms: what the user names, or the first of ``sources/<kind>/``, those of ``within``, ``sources/`` and ``caches`` in which one of
    ``marks`` is found.
    """

    path: SourcePath | None = None
    """Where the data are: an archive or a folder, in any form that docs/data.md lists. null: search, else download."""
    train_per_class: PerClass | None = None
    """Maximum number of training images per class (the first ones in the data set's order); null uses all."""
    test_per_class: PerClass | None = None
    """Maximum number of test images per class, likewise."""
    original: bool = True
    """Accept the authors' own files only. false: also re-encoded or partial copies; their title says so, and they are not counted."""

    upright = False  # neither the papers' code nor torchvision turns them
    homepage: ClassVar[str]
    terms: ClassVar[str]
    """The licence, or what the authors say about the use, in a few words."""
    by_hand: ClassVar[bool] = False
    """Terms must be accepted at ``homepage`` first, so that nothing is downloaded automatically."""
    marks: ClassVar[tuple[str, ...]]
    """Names of files and folders (patterns), one of which is in any folder that holds the data set."""
    caches: ClassVar[tuple[str, ...]] = ()
    """Folders in which other libraries keep it; ~ and $VARIABLES are expanded."""
    copies: ClassVar[tuple[str, ...]] = ()
    """More such folders, of copies that are not the authors' files: searched only with ``original: false``."""
    within: ClassVar[tuple[str, ...]] = ()
    """Kinds of which it is a part, so that it is also looked for in their folders ``sources/<kind>/``."""
    classes: ClassVar[int]
    official: ClassVar[tuple[int, int] | None] = None
    """Training and test images according to the authors."""
    balanced: ClassVar[bool] = True
    """Whether all classes have the same number of images, so that limits per class determine the counts."""

    def image(self) -> tuple[int, int]:
        """Three channels and ``size``, a setting of the kind."""
        return 3, self.size

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the files to download, or to obtain by hand; they are kept as ``sources/<kind>/<name>``."""
        return ()

    def counts(self) -> tuple[int, int] | None:
        """Return the authors' numbers, or what the limits per class leave of them."""
        limits = (self.train_per_class, self.test_per_class)
        if self.official is None or not self.original or (any(limits) and not self.balanced):
            return None
        train, test = (
            count if limit is None else min(count, limit * self.classes)
            for count, limit in zip(self.official, limits, strict=True)
        )
        return train, test

    def record(self) -> dict[str, Any]:
        """Return the entry without what only says where the files are and how they are stored."""
        return self.model_dump(exclude={"path", "storage"})


def hub_caches(*repositories: str) -> tuple[str, ...]:
    """The folders in which the library of the Hugging Face Hub keeps these repositories."""
    caches = ("$HF_HUB_CACHE", "$HF_HOME/hub", "~/.cache/huggingface/hub")
    return tuple(f"{cache}/datasets--{one.replace('/', '--')}" for one in repositories for cache in caches)


class PhotographSource(PublishedSource):
    """Photographs of many sizes, published as files, with lists that name those of each split and class."""

    size: Side = 224
    """Side in pixels: the shorter side is resized to it, then the centre is cropped."""
    storage: Storage = "auto"
    """Store decoded arrays, or the files unchanged. auto: arrays, unless they would take more than 32 GiB. Results are identical."""


class ThreeWaySource(PhotographSource):
    """Photographs whose authors give three parts: for training, for validation and for tests."""

    train: Literal["trainval", "train"] = "trainval"
    """The images to train on: trainval, those for training and for validation, or train, the former only."""
    test: Literal["test", "val"] = "test"
    """The images to test on; val, for choosing settings, needs train: train."""

    parts: ClassVar[dict[str, int]]
    """Images of train, val and test according to the authors."""

    @model_validator(mode="after")
    def _parts_differ(self) -> "ThreeWaySource":
        if (self.train, self.test) == ("trainval", "val"):
            raise ValueError("test: val: these images are part of train: trainval; set 'train: train' with it")
        return self

    @property
    def official(self) -> tuple[int, int]:
        """Training and test images according to the authors."""
        val = self.parts["val"] if self.train == "trainval" else 0
        return self.parts["train"] + val, self.parts[self.test]


LATER = {"test": "auto", "held_out": None, "part": 0, "unlabeled": False}
"""Settings that came later, with the values that change nothing: records without them stay what they were."""


class OwnSource(Source):
    """The user's own data at a path."""

    path: SourcePath
    """The folder or file; relative paths start at the project's root; ~ and $VARIABLES are expanded."""
    size: Side
    """Side in pixels: the shorter side is resized to it, then the centre is cropped."""
    channels: Literal[1, 3] = 3
    train_per_class: PerClass | None = None
    """Maximum number of training images per class (the first ones by name); null uses all."""
    test_per_class: PerClass | None = None
    """Maximum number of test images per class (the first ones by name); null uses all."""
    test: Literal["auto", "test", "val"] = "auto"
    """The split to test on where there are both; auto: test, and val if there is no test."""
    held_out: Annotated[float, Field(gt=0, le=0.5)] | None = None
    """Share of the training images of each class to test on instead, chosen by a hash of their names: for data without a test split."""
    part: Annotated[int, Field(ge=0)] = 0
    """Which part of ``held_out`` to test on: 0 to 4 of a share of 0.2 are the folds of a cross-validation."""

    @model_validator(mode="after")
    def _part_exists(self) -> "OwnSource":
        if self.part and (not self.held_out or (self.part + 1) * self.held_out > 1 + 1e-9):
            raise ValueError(f"part: {self.part}: there is no such part of held_out: {self.held_out}; count from 0")
        return self

    def image(self) -> tuple[int, int]:
        """Return the configured channels and size."""
        return self.channels, self.size

    def record(self) -> dict[str, Any]:
        """Return the entry without ``storage``, with only the file name of the path, which differs between machines, and without
        those choices of splits that are not made."""
        value = self.model_dump(exclude={"storage"}) | {"path": Path(self.path).name}
        return {key: item for key, item in value.items() if key not in LATER or item != LATER[key]}
