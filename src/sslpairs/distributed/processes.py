"""Processes started by torchrun to train one run (``docs/several-gpus.md``). Imports torch only where needed."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sslpairs.errors import UserError

Made = TypeVar("Made")


@dataclass(frozen=True)
class World:
    """The processes that train one run: this one has ``rank`` of ``size``; usually it is the only one."""

    rank: int = 0
    size: int = 1

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process writes files and output."""
        return self.rank == 0

    def broadcast(self, make: Callable[[], Made]) -> Made:
        """Broadcast rank 0's ``make()`` to all ranks (pickled); the others do not call it."""
        if self.size == 1:
            return make()
        import torch
        import torch.distributed as dist

        made = [make() if self.is_rank_zero else None]
        dist.broadcast_object_list(made, device=torch.device("cpu"))
        return made[0]


def current_world() -> World:
    """The world of this process, from torch's default process group."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World()


def under_torchrun() -> bool:
    """Whether this process was started by torchrun."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def process_group() -> Iterator[World]:
    """Form a process group of the processes started by torchrun; a process started otherwise is a world of one.

    The first process to fail reports why; the others, which fail for the same reason or because that one is gone, exit
    silently. torchrun ends those that are still waiting for it.
    """
    if not under_torchrun() or os.environ.get("WORLD_SIZE") == "1":
        yield World()
        return
    import torch
    import torch.distributed as dist

    store, rank, size = next(dist.rendezvous("env://"))
    # Tensors of either kind of device can be sent, so the device can be chosen later.
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", store=store, rank=rank, world_size=size
    )
    try:
        yield World(rank, size)
    except Exception as error:
        if _others_have_failed(store):
            time.sleep(1)  # torchrun ends all as soon as one has ended: let the first one report
            raise SystemExit(2) from error
        if isinstance(error, RuntimeError) and (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise UserError(
                "a process of this training is gone (torchrun reports which one and how it ended); the same command resumes after "
                "the last complete epoch"
            ) from error
        raise
    dist.destroy_process_group()


def _others_have_failed(store) -> bool:
    try:
        return store.add("failed", 1) > 1
    except Exception:  # torchrun itself, which keeps the store, is ending
        return False
