"""Named random streams: everything random flows from the run's seed through a name.

Switching on one strategy therefore never shifts the draws of another, and since the epoch is part of the name, a run
that resumes at an epoch's start draws what it would have drawn anyway.
"""

import hashlib


def stream_seed(seed: int, *words: str | int) -> int:
    """A 63-bit seed for the stream with this name, for example ``stream_seed(0, "views", 3)``."""
    text = "/".join(map(str, (seed, *words)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *words: str | int, device: str = "cpu"):
    """A ``torch.Generator`` at the start of the named stream."""
    import torch

    return torch.Generator(device=device).manual_seed(stream_seed(seed, *words))
