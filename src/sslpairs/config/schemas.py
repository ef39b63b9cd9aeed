"""JSON schemas of the configuration files, generated from the models."""

import json
from pathlib import Path

from pydantic import BaseModel

from sslpairs.config.datasets import Datasets
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


def schema_text(model: type[BaseModel]) -> str:
    """The schema of one model, as the text of its file."""
    return json.dumps(model.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def write_schemas(folder: Path) -> None:
    """Write one file a model."""
    for name, model in MODELS.items():
        write_atomic(folder / f"{name}.schema.json", schema_text(model))


def stale_schemas(folder: Path) -> list[str]:
    """Files that are missing or do not fit their model."""
    files = {f"{name}.schema.json": schema_text(model) for name, model in MODELS.items()}
    return [name for name, text in files.items() if not (folder / name).exists() or (folder / name).read_text() != text]
