"""What a base method under one pair strategy is."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["released", "named", "ours", "refused"]


@dataclass(frozen=True)
class Meaning:
    """The definition of one combination."""

    status: Status
    """``released``: as in released code; ``named``: the paper names it and released no code; ``ours``: defined here;
    ``refused``: without a meaning."""
    text: str
    """The definition, or why there is none, in one line."""
