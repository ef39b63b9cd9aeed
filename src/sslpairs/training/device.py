"""Where a run is trained."""

import platform
from pathlib import Path

import torch

from sslpairs.errors import UserError


def pick_device(choice: str) -> torch.device:
    """The device for 'auto', 'cpu', 'cuda' or 'cuda:1'; ``UserError`` when there is no such GPU."""
    if choice == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(choice)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise UserError(f"device: '{choice}' was asked for, and this machine shows {count} GPUs; write cpu or auto")
    return device


def describe(device: torch.device, threads: int) -> str:
    """For receipts, for example 'cpu (AMD EPYC), 1 thread'."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({_processor()}), {threads} thread{'s' if threads > 1 else ''}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
