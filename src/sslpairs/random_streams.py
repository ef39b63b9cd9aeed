"""Named random streams: all randomness is derived from the run's seed and a name.

Switching on one strategy therefore never shifts the draws of another. The epoch is part of the name, so a run that resumes at
the start of an epoch makes the same draws as an uninterrupted one.
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
    """A CPU ``torch.Generator`` at the start of the named stream."""
    import torch

    return torch.Generator().manual_seed(stream_seed(seed, *words))


def to_device(values: "torch.Tensor", device: "torch.device") -> "torch.Tensor":
    """Copy CPU values, such as draws, to a device without blocking. Draws are made on the CPU so that they are the same on every
    device."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)
