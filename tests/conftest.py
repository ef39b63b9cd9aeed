"""What all tests share."""

from pathlib import Path

import pytest
import torch
from projects import make_project

FIRST = ("test_slurm.py", "test_damage.py", "test_engines.py")
"""Files that mostly wait: side by side with the others they must not come last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Otherwise in the order of the files."""
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


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
