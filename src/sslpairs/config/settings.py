"""``config/config.yaml``: the settings of a build. Each can also be given on the command line."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from sslpairs.config.base import Model
from sslpairs.config.loading import read_value
from sslpairs.errors import nearest, shown


def _words(value: Any) -> Any:
    """Parse a list: 'mixco, clae' and '[mixco, clae]' are equal, and one word becomes a list of one. Return anything else unchanged."""
    if not isinstance(value, str) or value in ("all", "every"):
        return value
    if value.endswith(","):
        raise ValueError(f"'{shown(value)}' ends with a comma; write no space after commas, or put the list in quotes")
    return [read_value(word.strip(), f"'{shown(value)}'") for word in value.split(",") if word.strip()]


def _seeds(value: Any) -> Any:
    if isinstance(value, str) and "," in value:
        value = _words(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= 1000:
            raise ValueError(f"{shown(value)} seeds: write a number from 1 to 1000, or a list such as [0, 1, 2]")
        return list(range(value))
    if isinstance(value, list) and len(set(map(str, value))) != len(value):
        raise ValueError(f"{shown(value)} names a seed twice")
    return value


Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1), BeforeValidator(_seeds)]
"""A number n means 0 to n-1."""


class Settings(Model):
    """What to build, and how."""

    scale: str
    """A file in ``config/scales/``."""
    papers: list[str] | Literal["all", "every"]
    """Files in ``config/papers/``; ``all`` excludes optional papers, ``every`` includes them."""
    tables: list[str] | Literal["all", "every"]
    """Only these tables of those papers; ``all`` excludes optional tables, ``every`` includes them."""
    seeds: Seeds | None
    """A number n means the seeds 0 to n-1; a list gives them explicitly; null takes those of the scale."""
    device: str
    """Device to train on: auto uses a GPU if there is one."""
    train: Literal["missing", "never"]
    """Whether missing runs may be trained; with never, a build that would have to train fails."""
    jobs: Annotated[int, Field(gt=0, le=10_000)] | Literal["all"]
    """Runs in parallel on this machine; all means as many as Snakemake has cores."""

    @field_validator("papers", "tables", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return _words(value)

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value):
            hint = nearest("cuda" if value == "gpu" else value, ["auto", "cpu", "cuda"])
            raise ValueError(f"'{shown(value)}' is not a device{hint} (auto, cpu, cuda, cuda:1)")
        return value
