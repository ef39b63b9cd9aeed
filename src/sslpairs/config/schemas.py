"""Files generated from the code: JSON schemas of the configuration files and the page of combinations."""

import ast
import functools
import inspect
import itertools
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from sslpairs.config.datasets import Datasets
from sslpairs.config.encoders import Encoders
from sslpairs.config.labels import combinations_page
from sslpairs.config.papers import Paper
from sslpairs.config.recipes import Recipe
from sslpairs.config.scales import Scale
from sslpairs.config.settings import Settings
from sslpairs.files import write_atomic

MODELS: dict[str, type[BaseModel]] = {
    "config": Settings,
    "datasets": Datasets,
    "encoders": Encoders,
    "paper": Paper,
    "recipe": Recipe,
    "scale": Scale,
}


class _Described(GenerateJsonSchema):
    """Use the docstrings below fields as their descriptions. ``use_attribute_docstrings`` would do this on every import of a model,
    which took a fifth of the run time of a command."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        """Return the schema of one model."""
        schema_of_model = super().model_schema(schema)
        for name, text in _docstrings(schema["cls"]).items():
            if name in schema_of_model.get("properties", {}):
                schema_of_model["properties"][name].setdefault("description", text)
        return schema_of_model


@functools.cache
def _docstrings(model: type) -> dict[str, str]:
    """Map each field to the docstring below it, including those of base classes."""
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base.__module__.startswith("sslpairs."):
            tree = ast.parse(inspect.getsource(inspect.getmodule(base)))
            bodies = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == base.__name__)
            for field, below in (pair for body in bodies for pair in itertools.pairwise(body)):
                if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                    texts[field.target.id] = inspect.cleandoc(below.value.value)
    return texts


def _files() -> dict[str, str]:
    """Path relative to the project's root -> text."""
    schemas = {name: model.model_json_schema(schema_generator=_Described) for name, model in MODELS.items()}
    files = {
        f"config/schemas/{name}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas.items()
    }
    return files | {"docs/combinations.md": combinations_page()}


def write_generated(root: Path) -> None:
    """Write every file."""
    for name, text in _files().items():
        write_atomic(root / name, text)


def stale_files(root: Path) -> list[str]:
    """Return files that are missing or out of date."""
    return [name for name, text in _files().items() if not (root / name).exists() or (root / name).read_text() != text]
