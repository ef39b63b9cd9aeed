"""A folder of images, or an archive of it."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sslpairs.config.sources.base import Source
from sslpairs.errors import shown


def _no_part_of_the_project(path: str) -> str:
    """Refuses what is the project's own folder, or holds it, whatever lies there."""
    if not path.strip() or os.path.normpath(path.strip()) in (".", "..", "/", "~"):
        raise ValueError(
            f"'{shown(path)}' is no folder or archive of images; write where it lies, such as sources/cifar10"
        )
    return path


class ImageFolder(Source):
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

    def image(self) -> tuple[int, int]:
        """As the settings say."""
        return self.channels, self.size

    def record(self) -> dict[str, Any]:
        """Of the path only the file name, as machines differ in it; not how images are stored."""
        return self.model_dump(exclude={"storage"}) | {"path": Path(self.path).name}
