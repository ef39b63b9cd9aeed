"""Kinds of data sets, one file each: settings. The implementation is in the file of the same name in ``sslpairs.data.kinds``."""

from typing import Annotated, Union

from pydantic import Field

from sslpairs.config.registry import scan
from sslpairs.config.sources.base import Source

SOURCES: dict[str, type[Source]] = scan(__name__, Source, "sslpairs.data.kinds")
AnySource = Annotated[Union[tuple(SOURCES.values())], Field(discriminator="kind")]  # noqa: UP007 - of a tuple
