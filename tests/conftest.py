"""What all tests share."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from projects import make_project

# Else each of hundreds of processes compiles torch and Snakemake for itself: half of its time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

MEMORY = "/dev/shm"
if os.path.isdir(MEMORY) and shutil.disk_usage(MEMORY).free > 4 << 30 and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
    os.environ.setdefault(
        "PYTEST_DEBUG_TEMPROOT", MEMORY
    )  # thousands of small files: eight times as fast as on some disks


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked ``gpu``, or ``gpu(2)``, where there are fewer GPUs. No other test may skip: the gate fails then."""
    mark = item.get_closest_marker("gpu")
    count = mark.args[0] if mark and mark.args else 1
    if mark and torch.cuda.device_count() < count:
        pytest.skip("needs a GPU" if count == 1 else f"needs a GPU, {count} of them")


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums in another order have other last digits: one thread everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def original(tmp_path_factory, worker_id) -> Path:
    """The tiny project of ``projects.py``, built and published once for all workers. Tests change copies of it only."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "original"
    with FileLock(f"{folder}.lock"):
        if not (folder / "built").exists():
            make_project(folder / "project")
            (folder / "built").touch()
    return folder / "project"
