"""MedMNIST v2 (Yang et al. 2023): standardised biomedical images, one data set of several."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from sslpairs.config.medmnist import EARLIER, RECORD, RESOLUTIONS, SETS, UNUSED, MedMNISTSet
from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PublishedSource, Side


def _usable(name: Any) -> Any:
    """Refuse a set that is none of images with one label each."""
    if isinstance(name, str) and name in UNUSED:
        raise ValueError(f"{name} cannot be used: {UNUSED[name]}; choose another of {', '.join(SETS)}")
    return name


class MedMNISTSettings(PublishedSource):
    """A two-dimensional set of MedMNIST: its training split is trained on, its test split tested on; the validation split is not used."""

    kind: Literal["medmnist"]
    set: Annotated[Literal[tuple(SETS)], BeforeValidator(_usable)]
    """Which one, as the medmnist package names it, such as pathmnist."""
    resolution: Literal[RESOLUTIONS] = 28
    """Side of the images in the file, in pixels: 28, 64, 128 or 224. A file of its own for each."""
    size: Side | None = None
    """Side to which they are resized, in pixels; null: their resolution."""
    channels: Literal[1, 3] | None = None
    """null: as in the set, 1 (grey) or 3 (colour)."""

    homepage = "https://medmnist.com/"
    caches = ("~/.medmnist",)
    balanced = False

    @property
    def facts(self) -> MedMNISTSet:
        """What is known about the set."""
        return SETS[self.set]

    @property
    def terms(self) -> str:
        """The licence of the set."""
        return f"{self.facts.terms}; cite Yang et al. 2023 and the source of the images"

    @property
    def marks(self) -> tuple[str, ...]:
        """The name of the file."""
        return (self.file.name,)

    @property
    def classes(self) -> int:
        """Number of classes of the set."""
        return len(self.facts.classes)

    @property
    def official(self) -> tuple[int, int]:
        """Training and test images of the set."""
        return self.facts.train, self.facts.test

    @property
    def file(self) -> RemoteFile:
        """The set's file at this resolution."""
        name = file_name(self.set, self.resolution)
        hosts = (RECORD, EARLIER) if self.resolution == 28 and not self.set.startswith("organ") else (RECORD,)
        return RemoteFile(
            name,
            tuple(f"{host}{name}?download=1" for host in hosts),
            md5=self.facts.md5[RESOLUTIONS.index(self.resolution)],
        )

    def image(self) -> tuple[int, int]:
        """Return the configured channels and size, by default those of the file."""
        return self.channels or self.facts.channels, self.size or self.resolution

    def remote(self) -> tuple[RemoteFile, ...]:
        """Return the one file."""
        return (self.file,)

    def record(self) -> dict[str, Any]:
        """Return the entry with channels and size, whether they are set or not."""
        channels, size = self.image()
        return super().record() | {"channels": channels, "size": size}


def file_name(name: str, resolution: int) -> str:
    """Name of a set's file."""
    return f"{name}.npz" if resolution == 28 else f"{name}_{resolution}.npz"
