"""The meaning of a base method under a pair strategy."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["released", "named", "ours", "refused"]


@dataclass(frozen=True)
class Meaning:
    """The definition of one combination."""

    status: Status
    """``released``: as in released code; ``named``: the paper names it but released no code; ``ours``: defined here;
    ``refused``: has no meaning."""
    text: str
    """The definition, or why there is none; one line."""
