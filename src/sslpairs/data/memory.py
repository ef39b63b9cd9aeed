"""Free memory: of the machine, of the job's control group, of a GPU."""

import os
from collections.abc import Iterator
from pathlib import Path


def free_memory(root: Path = Path("/")) -> int:
    """Bytes of main memory that this process can still allocate, counting reclaimable caches as free.

    The machine's, or what the limits of its control groups (containers, Slurm jobs) leave, whichever is less.
    ``root`` is for tests: the folder of ``proc`` and ``sys``.
    """
    return min([_machine(root), *_control_groups(root)])


def free_on(device) -> int:
    """Free bytes on a torch device: a GPU's own memory, or the machine's."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    return free_memory()


def free_shared_memory() -> int:
    """Bytes of shared memory left; Docker containers get only 64 MB by default."""
    try:
        facts = os.statvfs("/dev/shm")  # noqa: S108 - not a temporary file
    except OSError:  # not Linux
        return free_memory()
    return facts.f_bavail * facts.f_frsize


def in_bytes(count: float) -> str:
    """Readable size, for example '0.5 MB' or '192.9 GB'."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _machine(root: Path) -> int:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux: free memory is not reported, so the total
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _control_groups(root: Path) -> Iterator[int]:
    """What each limit (version 2 or 1) leaves, of the process's group and of its parents."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, inner = line.split(":", 2)
        if not kinds:
            base, limit, used, cache = root / "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif kinds == "memory":
            base, limit, used = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_inactive_file"
        else:
            continue
        group = base / inner.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(base):
                break
            try:
                facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                yield max(
                    0,
                    int((folder / limit).read_text())  # ValueError: "max", for none
                    - int((folder / used).read_text())
                    + int(facts.get(cache, 0)),
                )
            except (OSError, ValueError):  # inside a container the outer groups are not visible
                continue
