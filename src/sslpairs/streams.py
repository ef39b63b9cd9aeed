"""Named random streams: everything random flows from the run's seed through a name.

Switching on one strategy therefore never shifts the draws of another, and since the epoch is part of the name, a run
that resumes at an epoch's start draws what it would have drawn anyway.
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def stream_seed(seed: int, *words: str | int) -> int:
    """A 63-bit seed for the stream with this name, for example ``stream_seed(0, "views", 3)``."""
    text = "/".join(map(str, (seed, *words)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *words: str | int):
    """A ``torch.Generator`` of the CPU at the start of the named stream."""
    import torch

    return torch.Generator().manual_seed(stream_seed(seed, *words))


def sent(values: "torch.Tensor", device: "torch.device") -> "torch.Tensor":
    """Values of the CPU, such as draws, on a device, without waiting for it. Draws are made on the CPU, so that they are the same
    ones wherever a run trains."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)
