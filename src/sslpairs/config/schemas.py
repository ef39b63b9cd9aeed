"""What is written from the code: JSON schemas of the configuration files, and the page of combinations."""

import json
from pathlib import Path

from pydantic import BaseModel

from sslpairs.config.datasets import Datasets
from sslpairs.config.labels import combinations_page
from sslpairs.config.papers import Paper
from sslpairs.config.recipes import Recipe
from sslpairs.config.scales import Scale
from sslpairs.config.settings import Settings
from sslpairs.files import write_atomic

MODELS: dict[str, type[BaseModel]] = {
    "config": Settings,
    "datasets": Datasets,
    "paper": Paper,
    "recipe": Recipe,
    "scale": Scale,
}


def _files() -> dict[str, str]:
    """Path from the project's root -> text."""
    schemas = {
        f"config/schemas/{name}.schema.json": json.dumps(model.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
        for name, model in MODELS.items()
    }
    return schemas | {"docs/combinations.md": combinations_page()}


def write_generated(root: Path) -> None:
    """Write every file."""
    for name, text in _files().items():
        write_atomic(root / name, text)


def stale_files(root: Path) -> list[str]:
    """Files that are missing or do not fit the code."""
    return [name for name, text in _files().items() if not (root / name).exists() or (root / name).read_text() != text]
