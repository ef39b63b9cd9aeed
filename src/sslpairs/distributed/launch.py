"""Start a run's processes by re-executing this one as torchrun."""

import logging
import math
import os
import sys

log = logging.getLogger(__name__)


def relaunch_under_torchrun(wanted: int, device: str, words: list[str], run: str) -> None:
    """Replace this process by a torchrun that starts ``sslpairs`` with these arguments in several processes, if ``wanted`` GPUs are
    more than one.

    On the device 'auto' there are as many processes as the GPUs here allow, on 'cuda' exactly ``wanted``, on 'cpu' as many on the
    CPU. A job on several nodes of a Slurm cluster (srun has started this process once on each) is one torchrun over all of them.
    Returns if one process is to train by itself.
    """
    if wanted == 1 or ":" in device:
        return
    nodes = int(os.environ.get("SLURM_STEP_NUM_NODES", "1"))
    here = math.ceil(wanted / nodes)
    if device != "cpu":
        from sslpairs.distributed.device import gpus_here, pick_device

        if device == "cuda":
            pick_device(f"cuda:{here - 1}")  # raises if they are not available
        else:
            available = max(1, gpus_here())
            here = max(number for number in range(1, min(available, here) + 1) if here % number == 0)
    if here * nodes < wanted:
        log.warning("%s asks for %d GPUs: trained on %d, since no more are available here", run, wanted, here * nodes)
    if here * nodes == 1:
        return
    meeting = ["--standalone", "--nnodes=1"]
    if nodes > 1:
        first, job = os.environ["SLURM_LAUNCH_NODE_IPADDR"], int(os.environ["SLURM_JOB_ID"])
        leads = int(os.environ["SLURM_NODEID"] == "0")
        meeting = [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-id={job}", f"--rdzv-conf=is_host={leads}"]
        meeting += [f"--rdzv-endpoint={first}:{20000 + job % 20000}"]
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torchrun would set and announce it; the plan's number follows
    torchrun = ["-m", "torch.distributed.run", *meeting, f"--nproc-per-node={here}"]
    os.execv(sys.executable, [sys.executable, *torchrun, "-m", "--", "sslpairs", *words])  # noqa: S606
