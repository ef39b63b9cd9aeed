"""Several processes that train one run, as torchrun starts them (``docs/several-gpus.md``). Imports torch only where needed."""

import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sslpairs.errors import UserError

Made = TypeVar("Made")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Team:
    """The processes that work together; this one is number ``rank`` of ``size``, mostly the only one."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.rank == 0

    def agree(self, make: Callable[[], Made]) -> Made:
        """What the leading process makes, on all processes; the others do not make it. It is pickled on its way."""
        if self.size == 1:
            return make()
        import torch
        import torch.distributed as dist

        made = [make() if self.leads else None]
        dist.broadcast_object_list(made, device=torch.device("cpu"))
        return made[0]


def current() -> Team:
    """The team of this process, from torch's default process group."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return Team(dist.get_rank(), dist.get_world_size())
    return Team()


def started_together() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def start_together(wanted: int, device: str, words: list[str], run: str) -> None:
    """Become a torchrun that starts ``sslpairs`` with these words in several processes, where ``wanted`` GPUs are more than one.

    On the device 'auto' there are as many processes as GPUs here allow, on 'cuda' exactly ``wanted``, on 'cpu' as many on the
    CPU. A job on several nodes of a Slurm cluster (srun has started this process once on each) is one torchrun over all of them.
    Returns where one process is to train by itself.
    """
    if wanted == 1 or ":" in device:
        return
    nodes = int(os.environ.get("SLURM_STEP_NUM_NODES", "1"))
    here = math.ceil(wanted / nodes)
    if device != "cpu":
        from sslpairs.training.device import gpus_here, pick_device

        if device == "cuda":
            pick_device(f"cuda:{here - 1}")  # says so where they are not there
        else:
            found = max(1, gpus_here())
            here = max(number for number in range(1, min(found, here) + 1) if here % number == 0)
    if here * nodes < wanted:
        log.warning("%s asks for %d GPUs: trained on %d, since there are no more here", run, wanted, here * nodes)
    if here * nodes == 1:
        return
    meeting = ["--standalone", "--nnodes=1"]
    if nodes > 1:
        first, job = os.environ["SLURM_LAUNCH_NODE_IPADDR"], int(os.environ["SLURM_JOB_ID"])
        leads = int(os.environ["SLURM_NODEID"] == "0")
        meeting = [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-id={job}", f"--rdzv-conf=is_host={leads}"]
        meeting += [f"--rdzv-endpoint={first}:{20000 + job % 20000}"]
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torchrun would set and announce it; `settle` sets the plan's number
    torchrun = ["-m", "torch.distributed.run", *meeting, f"--nproc-per-node={here}"]
    os.execv(sys.executable, [sys.executable, *torchrun, "-m", "--", "sslpairs", *words])  # noqa: S606


@contextmanager
def together() -> Iterator[Team]:
    """Inside, the processes that torchrun started are a team; a process that was started otherwise is one by itself.

    The first process to fail says why; the others, which fail for the same reason or because that one is gone, end
    silently. torchrun ends those that still wait for it.
    """
    if not started_together() or os.environ.get("WORLD_SIZE") == "1":
        yield Team()
        return
    import torch
    import torch.distributed as dist

    store, rank, size = next(dist.rendezvous("env://"))
    # Tensors of either kind of device may be sent, so that the choice of one can wait.
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", store=store, rank=rank, world_size=size
    )
    try:
        yield Team(rank, size)
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
