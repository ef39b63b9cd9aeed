"""What all tests share."""

from pathlib import Path

import pytest
import torch
from projects import make_project


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums in another order have other last digits: one thread everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def original(tmp_path_factory) -> Path:
    """The tiny project of ``projects.py``, built and published once. Tests change copies of it only."""
    return make_project(tmp_path_factory.mktemp("original") / "project")
