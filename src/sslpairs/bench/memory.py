"""Peak memory of a training. On the CPU a separate process measures it: ``python -m sslpairs.bench.memory``."""

import json
import subprocess
import sys
from pathlib import Path

import torch

from sslpairs.bench.arms import Ours
from sslpairs.bench.setting import Setting
from sslpairs.distributed.device import configure_process
from sslpairs.errors import UserError


def peak_memory(label: str, setting: Setting) -> dict[str, float] | None:
    """``peak_here``: on a GPU in this process, on the CPU in a separate one with the same number of threads."""
    if torch.device(setting.device).type == "cuda":
        return peak_here(label, setting)
    request = json.dumps({"label": label, "threads": torch.get_num_threads(), "setting": setting.plain()})
    done = subprocess.run([sys.executable, "-m", __name__, request], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise UserError(f"the memory of {label} was not measured: its process ended with {done.returncode} ({reason})")
    return json.loads(done.stdout)


def peak_here(label: str, setting: Setting) -> dict[str, float] | None:
    """Peak while a label is built and trained for one epoch, in MB (10^6 bytes), and the part used before.

    On a GPU: ``torch.cuda.max_memory_allocated``. On the CPU: the largest resident size of this process, of which the
    interpreter and the libraries are ``before``; None if the system does not report it.
    """
    if torch.device(setting.device).type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        Ours(label, setting).seconds()
        return {"peak": torch.cuda.max_memory_allocated() / 1e6, "before": before / 1e6}
    before = _resident("VmRSS")
    Ours(label, setting).seconds()
    peak = _resident("VmHWM")
    return None if before is None or peak is None else {"peak": peak, "before": before}


def _resident(key: str) -> float | None:
    """A line of /proc/self/status in MB. Not getrusage: its maximum is inherited from the parent process."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in lines if line.startswith(key + ":")), None)
    return None if kilobytes is None else int(kilobytes) * 1024 / 1e6


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    configure_process(asked["threads"])
    print(json.dumps(peak_here(asked["label"], Setting(**asked["setting"]))))
