"""A folder of images, or an archive of it."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sslpairs.config.sources.base import Source
from sslpairs.errors import shown


def _no_part_of_the_project(path: str) -> str:
    """Refuse the project's own folder and any folder that contains it."""
    if not path.strip() or os.path.normpath(path.strip()) in (".", "..", "/", "~"):
        raise ValueError(
            f"'{shown(path)}' is not a folder or archive of images; write its path, such as sources/cifar10"
        )
    return path


class ImageFolderSettings(Source):
    """A folder, or a .tar, .tar.gz, .tar.xz or .zip of it, with train/<class>/* and test/<class>/* or val/<class>/*."""

    kind: Literal["image-folder"]
    path: Annotated[str, AfterValidator(_no_part_of_the_project)]
    """The folder or archive; relative paths start at the project's root; ~ and $VARIABLES are expanded."""
    size: Annotated[int, Field(ge=8, le=512)]
    """Side in pixels: the shorter side is resized to it, then the centre is cropped."""
    channels: Literal[1, 3] = 3
    train_per_class: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Maximum number of training images per class (the first ones by name); null uses all."""
    test_per_class: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Maximum number of test images per class (the first ones by name); null uses all."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Expected digest of the archive; any other file is rejected."""
    storage: Literal["auto", "arrays", "files"] = "auto"
    """Store decoded arrays, or the files unchanged. auto: arrays, unless they would take more than 32 GiB. Results are identical."""

    def image(self) -> tuple[int, int]:
        """Return the configured channels and size."""
        return self.channels, self.size

    def record(self) -> dict[str, Any]:
        """Return the entry without ``storage`` and with only the file name of the path, which differs between machines."""
        return self.model_dump(exclude={"storage"}) | {"path": Path(self.path).name}
