"""Devices and process settings for training."""

import ctypes
import os
import platform
import resource
import sys
from pathlib import Path

import torch

from sslpairs.distributed.processes import current_world
from sslpairs.errors import UserError

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Options of glibc's ``mallopt``."""


def pick_device(choice: str) -> torch.device:
    """The device for 'auto', 'cpu', 'cuda' or 'cuda:1'; ``UserError`` if there is no such GPU.

    If several processes train together, each takes its own GPU.
    """
    if choice == "auto":
        choice = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(choice)
    if device.type == "cuda":
        count = gpus_here()
        if (device.index or 0) >= count:
            raise UserError(f"device: '{choice}' was requested, but {_place()} has {count} GPUs{_remedy(count)}")
        if current_world().size > 1:
            return _own_gpu(choice, device, count)
    return device


def gpus_here() -> int:
    """Number of GPUs that torch may use in this process."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _place() -> str:
    """This machine, for messages; on a cluster the names of the node and the job, so that the node can be found."""
    job = os.environ.get("SLURM_JOB_ID")
    return f"node {os.environ.get('SLURMD_NODENAME') or platform.node()} (Slurm job {job})" if job else "this machine"


def _remedy(count: int) -> str:
    if "SLURM_JOB_ID" not in os.environ:
        return "; use cpu or auto"
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    facts = f"CUDA_VISIBLE_DEVICES is {'not set' if shown is None else repr(shown)}"
    facts += f", torch {torch.__version__}" + ("" if torch.version.cuda else " is built without CUDA")
    return (
        f" ({facts}).\nCompare gpu_request and slurm_partition of the profile with `sinfo -N -o '%N %G'`; on a cluster without GPUs "
        "omit gpu_request or build with DEVICE=cpu"
    )


def _own_gpu(choice: str, device: torch.device, count: int) -> torch.device:
    """The GPU of this process among those started by torchrun on this machine."""
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    if device.index is not None:
        raise UserError(f"device: '{choice}' is one GPU, but torchrun started {here} processes here; use cuda")
    if here > count:
        raise UserError(
            f"torchrun: {here} processes, but {_place()} has {count} GPUs; use --nproc-per-node {count}, or device: cpu"
        )
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


def configure_process(threads: int) -> None:
    """Configure this process for computing: the number of CPU threads; freed memory is kept for the next tensors; GPU convolutions
    are deterministic.

    By default glibc returns tensors of a few megabytes to the system as soon as they are freed, and every step then waits for
    new pages: measured on the views, 1.6 to 2 times slower. Without glibc this has no effect.
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
    """Device description for receipts, for example 'cpu (AMD EPYC), 1 thread', or for several processes 'cuda:0 (NVIDIA H100) x 4'."""
    if device.type == "cuda":
        text = f"{device} ({torch.cuda.get_device_name(device)})"
    else:
        text = f"cpu ({_processor()}), {threads} thread{'s' if threads > 1 else ''}"
    processes = current_world().size
    return f"{text} x {processes}" if processes > 1 else text


def memory_used(device: torch.device) -> dict[str, int | None]:
    """Peak memory of this process so far in bytes: of the machine, and of the GPU (None on the CPU)."""
    unit = 1 if sys.platform == "darwin" else 1024
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"host": host, "gpu": torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
