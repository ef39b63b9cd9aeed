"""Backbones, one file each: settings, titles, sizes. The networks are in the file of the same name in ``sslpairs.backbones``."""

from typing import Annotated, Union

from pydantic import Field

from sslpairs.config.backbones.base import BackboneSettings
from sslpairs.config.registry import scan

BACKBONES: dict[str, type[BackboneSettings]] = scan(__name__, BackboneSettings, "sslpairs.backbones")
Backbone = Annotated[Union[tuple(BACKBONES.values())], Field(discriminator="kind")]  # noqa: UP007 - of a tuple
