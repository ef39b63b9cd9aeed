"""Where a run is trained."""

import ctypes
import platform
from pathlib import Path

import torch

from sslpairs.errors import UserError

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Options of glibc's ``mallopt``."""


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


def settle(threads: int) -> None:
    """Make this process one that computes: so many processor threads; freed memory is kept for the next tensors; convolutions
    of the GPU that give the same sums every time.

    By default glibc gives tensors of a few megabytes back to the system as soon as they are freed, and every step then waits
    for fresh pages: measured on the views, 1.6 to 2 times slower. Without glibc nothing changes.
    """
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 << 20)):
        set_option(option, value)


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
