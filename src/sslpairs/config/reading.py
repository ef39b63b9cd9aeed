"""Read everything under ``config/`` into typed models; errors name file, line, key, value and remedy."""

import contextlib
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sslpairs.config.agreement import MAPS, check_paper, check_scale
from sslpairs.config.base import NAME
from sslpairs.config.datasets import Datasets, DatasetSettings
from sslpairs.config.encoders import Encoders, EncoderSettings
from sslpairs.config.loading import line_of, load_yaml, read_value
from sslpairs.config.papers import Paper
from sslpairs.config.recipes import Recipe
from sslpairs.config.remedies import explain, show
from sslpairs.config.scales import Scale
from sslpairs.config.settings import Settings
from sslpairs.errors import UserError, listed, nearest, shown

M = TypeVar("M", bound=BaseModel)

RULES = (
    "all",
    "baseline",
    "evaluate",
    "figure",
    "prepare_data",
    "pretrain",
    "pretrain_and_evaluate",
    "provenance",
    "restore_run",
    "retrain",
    "table",
)
"""Rules of the workflow. Like papers and tables, they are targets of ``snakemake``."""


@dataclass(frozen=True)
class Config:
    """The complete configuration of a build, read and validated."""

    root: Path
    settings: Settings
    datasets: dict[str, DatasetSettings]
    scale_name: str
    scale: Scale
    recipes: dict[str, Recipe]
    """File in ``config/recipes`` -> its content, for all recipes that the scale names."""
    papers: dict[str, Paper]
    notes: list[str]
    """Possible mistakes that are not errors, one line each."""
    encoders: dict[str, EncoderSettings] = field(default_factory=dict)

    @property
    def scale_file(self) -> str:
        """Path of the scale's file, for messages."""
        return f"config/scales/{self.scale_name}.yaml"

    def recipe_of(self, paper: str) -> tuple[Recipe, str]:
        """Return the recipe that the scale uses for a paper, and its file for messages."""
        name = self.scale.recipes.get(paper, self.scale.recipes.get("default"))
        if name is None:
            raise UserError(f"{self.scale_file}: recipes: no entry for '{paper}' and no 'default'; add one")
        return self.recipes[name], f"config/recipes/{name}.yaml"

    def is_chosen(self, paper: str, table: str) -> bool:
        """Whether to build a table. Optional tables, and tables of optional papers, are built only if they are named or ``every``
        is set."""
        papers, tables = self.settings.papers, self.settings.tables
        named = isinstance(tables, list) and table in tables
        in_paper = papers == "every" or paper in papers
        if papers == "all":
            in_paper = named or not self.papers[paper].optional
        optional = self.papers[paper].tables[table].optional
        return in_paper and (named or tables == "every" or (tables == "all" and not optional))


def read_config(root: Path, overrides: dict[str, Any] | None = None) -> Config:
    """Read ``root/config``. ``overrides`` are settings from the command line; strings are parsed as in a file.

    Raise ``UserError`` for anything that is missing, misspelt, of the wrong type or contradictory.
    """
    folder = root / "config"
    given = {
        key: read_value(value, f"command line: {shown(key)}") if isinstance(value, str) else value
        for key, value in (overrides or {}).items()
    }
    settings = read_file(Settings, folder / "config.yaml", root, given)

    def where(key: str) -> str:
        return f"command line: {key}" if key in given else _where(folder / "config.yaml", key)

    scale_file = choose_file(folder / "scales", where("scale"), settings.scale)
    scale = read_file(Scale, scale_file, root)
    scales = scale_contents(root)
    _check_title(scale.title, scale_file, scales)
    settings = settings.model_copy(update={"seeds": settings.seeds or scale.seeds})
    recipes = {
        name: read_file(Recipe, choose_file(folder / "recipes", _where(scale_file, "recipes", paper), name), root)
        for paper, name in scale.recipes.items()
    }
    datasets = read_file(Datasets, folder / "datasets.yaml", root).datasets
    encoders = read_file(Encoders, folder / "encoders.yaml", root).encoders
    if both := next((name for name in encoders if name in datasets), None):
        raise UserError(
            f"{_where(folder / 'encoders.yaml', 'encoders', both)}: '{both}' is also a data set; rename one"
        )
    papers = {name: read_file(Paper, file, root) for name, file in files_in(folder / "papers").items()}
    for name in scale.recipes:
        if name != "default" and name not in papers:
            hint = nearest(name, ["default", *papers])
            raise UserError(f"{_where(scale_file, 'recipes')}: '{shown(name)}' is not a file in config/papers{hint}")
    notes = check_scale(scale, papers, partial(_where, scale_file))
    known = _known_to_scales(scales)
    for name, paper in papers.items():
        check_paper(
            paper, known, partial(_where, folder / "papers" / f"{name}.yaml"), f"config/scales/{settings.scale}.yaml"
        )
    for name in settings.papers if isinstance(settings.papers, list) else []:
        if name not in papers:
            hint = nearest(name, ["all", "every", *papers])
            raise UserError(
                f"{where('papers')}: {shown(repr(name))} is not a file in config/papers{hint} ({listed(papers)})"
            )
    tables = [table for paper in papers.values() for table in paper.tables]
    for name in settings.tables if isinstance(settings.tables, list) else []:
        if name not in tables:
            raise UserError(
                f"{where('tables')}: {shown(repr(name))} is not a table{nearest(name, ['all', 'every', *tables])} ({listed(tables)})"
            )
    chosen = [
        table
        for name, paper in papers.items()
        if settings.papers in ("all", "every") or name in settings.papers
        for table in paper.tables
    ]
    if isinstance(settings.tables, list) and not set(chosen) & set(settings.tables):
        raise UserError(
            f"{where('tables')}: none of {listed(settings.tables)} belongs to the chosen papers; correct either list"
        )
    _check_once("table", tables)
    _check_once("figure", [figure for paper in papers.values() for figure in paper.figures])
    for name, paper in papers.items():
        if taken := next((target for target in (name, *paper.tables) if target in RULES), None):
            raise UserError(
                f"config/papers/{name}.yaml: '{taken}' is the name of a workflow rule, and papers and tables share one namespace with "
                "rules; rename it"
            )
        if both := next((table for table in paper.tables if table in papers), None):
            raise UserError(
                f"config/papers/{name}.yaml: tables.{both}: '{both}' is also the name of a paper; rename one"
            )
    config = Config(root, settings, datasets, settings.scale, scale, recipes, papers, notes, encoders)
    if not any(config.is_chosen(name, table) for name, paper in papers.items() for table in paper.tables):
        raise UserError(
            f"{where('tables')}: all tables of the chosen papers are optional; write 'every' or name some ({listed(chosen)})"
        )
    return config


def _where(path: Path, *keys: Any) -> str:
    """Format file, line and key for messages."""
    name = path.relative_to(path.parents[path.parts[::-1].index("config")])
    return f"{name}{line_of(path, list(keys))}: {'.'.join(map(shown, keys))}"


def files_in(folder: Path) -> dict[str, Path]:
    """Files of a folder by name, without hidden ones (backups and locks of editors and file managers)."""
    return {file.stem: file for file in sorted(folder.glob("*.yaml")) if not file.name.startswith(".")}


def choose_file(folder: Path, where: str, name: str) -> Path:
    """Return the file of this name. Raise ``UserError`` that begins with ``where`` if there is none."""
    known = files_in(folder)
    if name not in known:
        hint = nearest(name, known)
        raise UserError(f"{where}: {shown(repr(name))} is not a file in config/{folder.name}{hint} ({listed(known)})")
    return known[name]


def scale_contents(root: Path) -> dict[Path, dict[str, Any]]:
    """Return the files of all scales that are YAML, with their keys and values, which are not checked."""
    contents = {}
    for file in files_in(root / "config/scales").values():
        with contextlib.suppress(UserError):
            content = load_yaml(file, root)
            if isinstance(content, dict):
                contents[file] = content
    return contents


def titled(title: str, contents: dict[Path, dict[str, Any]]) -> list[Path]:
    """Return the files that have this title."""
    return [file for file, content in contents.items() if " ".join(str(content.get("title")).split()) == title]


def _check_title(title: str, file: Path, contents: dict[Path, dict[str, Any]]) -> None:
    """Raise ``UserError`` if another scale has the same title: a copy that kept it could not be told apart in tables."""
    if others := [other for other in titled(title, contents) if other != file]:
        raise UserError(
            f"{_where(file, 'title')}: '{shown(title)}' is also the title of {_where(others[0], 'title').removesuffix(': title')}; "
            "tables of both would look alike: change one"
        )


def _known_to_scales(contents: dict[Path, dict[str, Any]]) -> dict[str, set[str]]:
    """Names in the maps of all scales."""
    known: dict[str, set[str]] = {kind: set() for kind in MAPS}
    for content in contents.values():
        for kind in known:
            names = content.get(kind)
            known[kind] |= set(names) if isinstance(names, dict) else set()
    return known


def _check_once(what: str, names: list[str]) -> None:
    if doubled := {name for name, count in Counter(names).items() if count > 1}:
        raise UserError(f"config/papers: {what} '{min(doubled)}' is defined in two papers; rename one")


def read_file(model: type[M], path: Path, root: Path, overrides: dict[str, Any] | None = None) -> M:
    """Read one file of ``root/config``. Raise ``UserError`` if it does not fit the model."""
    name = str(path.relative_to(root))
    if not re.fullmatch(NAME, path.stem):
        raise UserError(f"{name}: rename the file: use only letters, digits, '-', '_' and '.'")
    value = load_yaml(path, root)
    if not isinstance(value, dict):
        raise UserError(f"{name}: expected keys and values, found {show(value)}")
    try:
        return model.model_validate(value | (overrides or {}))
    except ValidationError as error:
        raise UserError(explain(error, model, name, path, overrides or {})) from None
