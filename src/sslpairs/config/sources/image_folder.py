"""A folder of images, or an archive of it."""

from typing import Annotated, Literal

from pydantic import Field

from sslpairs.config.sources.base import OwnSource, Storage


class ImageFolderSettings(OwnSource):
    """A folder, or a .tar, .tar.gz, .tar.xz or .zip of it, with train/<class>/* and test/<class>/* or val/<class>/*.

    test and val may both be there, or neither (``held_out``), and may lack classes. unlabeled/ may hold images without a class.
    """

    kind: Literal["image-folder"]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Expected digest of the archive; any other file is rejected."""
    unlabeled: bool = False
    """Also train on the images in unlabeled/. Evaluations never use them."""
    storage: Storage = "auto"
    """Store decoded arrays, or the files unchanged. auto: arrays, unless they would take more than 32 GiB. Results are identical."""
