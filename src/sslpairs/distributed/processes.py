"""The processes that torchrun started to train one run (``docs/several-gpus.md``). Imports torch only where needed."""

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
    """The processes that train one run: this one has ``rank`` of ``size`` of them, and is mostly the only one."""

    rank: int = 0
    size: int = 1

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process writes the files and speaks."""
        return self.rank == 0

    def broadcast(self, make: Callable[[], Made]) -> Made:
        """Returns what ``make`` returns on rank 0, on all ranks; the others do not call it. It is pickled on its way."""
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
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def process_group() -> Iterator[World]:
    """Inside, the processes that torchrun started form a process group; a process that was started otherwise is a world of one.

    The first process to fail says why; the others, which fail for the same reason or because that one is gone, end
    silently. torchrun ends those that still wait for it.
    """
    if not under_torchrun() or os.environ.get("WORLD_SIZE") == "1":
        yield World()
        return
    import torch
    import torch.distributed as dist

    store, rank, size = next(dist.rendezvous("env://"))
    # Tensors of either kind of device may be sent, so that the choice of one can wait.
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", store=store, rank=rank, world_size=size
    )
    try:
        yield World(rank, size)
    except Exception as error:
        if _others_have_failed(store):
            time.sleep(1)  # torchrun ends all as soon as one has ended: let the first one speak
            raise SystemExit(2) from error
        if isinstance(error, RuntimeError) and (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise UserError(
                "a process of this training is gone (torchrun says which, and how it ended); the same command goes on after "
                "the last whole epoch"
            ) from error
        raise
    dist.destroy_process_group()


def _others_have_failed(store) -> bool:
    try:
        return store.add("failed", 1) > 1
    except Exception:  # torchrun itself, which keeps the store, is going
        return False
