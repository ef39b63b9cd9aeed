"""``config/config.yaml``: the choices of a build, each also on the command line."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from sslpairs.config.base import Model
from sslpairs.config.loading import read_value
from sslpairs.errors import nearest, shown


def _words(value: Any) -> Any:
    """A list: 'mixco, clae' and '[mixco, clae]' alike, and one word is a list of it; anything else as it is."""
    if not isinstance(value, str) or value in ("all", "every"):
        return value
    if value.endswith(","):
        raise ValueError(f"'{shown(value)}' ends with a comma; write no space after it, or the list in quotes")
    return [read_value(word.strip(), f"'{shown(value)}'") for word in value.split(",") if word.strip()]


class Settings(Model):
    """What to build, and with what."""

    scale: str
    """A file of ``config/scales/``."""
    papers: list[str] | Literal["all", "every"]
    """Files of ``config/papers/``; ``all`` leaves out optional papers, ``every`` does not."""
    tables: list[str] | Literal["all", "every"]
    """Only these tables of those papers; ``all`` leaves out optional tables, ``every`` does not."""
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]
    """A number n means the seeds 0 to n-1; a list names them."""
    device: str
    """Where to train: auto takes a GPU if there is one."""
    train: Literal["missing", "never"]
    """Whether what is missing may be trained; never makes a build fail that would have to."""
    jobs: Annotated[int, Field(gt=0, le=10_000)] | Literal["all"]
    """Runs side by side on this machine; all means as many as Snakemake has cores."""

    @field_validator("papers", "tables", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return _words(value)

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds(cls, value: Any) -> Any:
        if isinstance(value, str) and "," in value:
            value = _words(value)
        if isinstance(value, int) and not isinstance(value, bool):
            if not 1 <= value <= 1000:
                raise ValueError(f"{shown(value)} seeds: write a number from 1 to 1000, or a list such as [0, 1, 2]")
            return list(range(value))
        if isinstance(value, list) and len(set(map(str, value))) != len(value):
            raise ValueError(f"{shown(value)} names a seed twice")
        return value

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value):
            hint = nearest("cuda" if value == "gpu" else value, ["auto", "cpu", "cuda"])
            raise ValueError(f"'{shown(value)}' is no device{hint} (auto, cpu, cuda, cuda:1)")
        return value
