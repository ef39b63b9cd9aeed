"""Read everything under ``config/`` into typed models; errors name file, line, key, value and remedy."""

import re
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from sslpairs.config.datasets import Dataset, Datasets
from sslpairs.config.papers import Paper
from sslpairs.config.recipes import Recipe
from sslpairs.config.scales import Scale
from sslpairs.config.settings import Settings
from sslpairs.errors import UserError, nearest

M = TypeVar("M", bound=BaseModel)


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Safe YAML in which 1e-3 is a number, as in YAML 1.2, and a key that stands twice is an error."""

    def construct_object(self, node, deep=False):  # noqa: D102
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # such as a date that no calendar has
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None

    def construct_mapping(self, node, deep=False):  # noqa: D102
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be one word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{key.value}' stands twice; keep one", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


@dataclass(frozen=True)
class Config:
    """All that a build depends on, read and checked."""

    root: Path
    settings: Settings
    datasets: dict[str, Dataset]
    scale_name: str
    scale: Scale
    recipes: dict[str, Recipe]
    """File of ``config/recipes`` -> its content, for all that the scale names."""
    papers: dict[str, Paper]

    @property
    def scale_file(self) -> str:
        """For messages."""
        return f"config/scales/{self.scale_name}.yaml"

    def recipe_of(self, paper: str) -> tuple[Recipe, str]:
        """The recipe that the scale has for a paper, and its file for messages."""
        name = self.scale.recipes.get(paper, self.scale.recipes.get("default"))
        if name is None:
            raise UserError(f"{self.scale_file}: recipes: nothing for '{paper}' and no 'default'; add one")
        return self.recipes[name], f"config/recipes/{name}.yaml"

    def is_chosen(self, paper: str, table: str) -> bool:
        """Whether a table is to be built: an optional one, and one of an optional paper, only where it is named or ``every``
        is written."""
        papers, tables = self.settings.papers, self.settings.tables
        named = isinstance(tables, list) and table in tables
        in_paper = papers == "every" or paper in papers
        if papers == "all":
            in_paper = named or not self.papers[paper].optional
        optional = self.papers[paper].tables[table].optional
        return in_paper and (named or tables == "every" or (tables == "all" and not optional))


def read_config(root: Path, overrides: dict[str, Any] | None = None) -> Config:
    """Read ``root/config``; ``overrides`` are settings given on the command line.

    Raises ``UserError`` for anything that is missing, misspelt, of the wrong type or contradictory.
    """
    folder = root / "config"
    settings = _read(Settings, folder / "config.yaml", root, overrides or {})

    def where(key: str) -> str:
        return _where(folder / "config.yaml", key, overrides)

    scale_file = _choice(folder / "scales", where("scale"), settings.scale)
    scale = _read(Scale, scale_file, root)
    recipes = {
        name: _read(Recipe, _choice(folder / "recipes", f"{_where(scale_file, 'recipes')}.{paper}", name), root)
        for paper, name in scale.recipes.items()
    }
    datasets = _read(Datasets, folder / "datasets.yaml", root).datasets
    papers = {file.stem: _read(Paper, file, root) for file in sorted((folder / "papers").glob("*.yaml"))}
    for name in scale.recipes:
        if name != "default" and name not in papers:
            hint = nearest(name, ["default", *papers])
            raise UserError(f"{_where(scale_file, 'recipes')}: {name!r} is no file of config/papers{hint}")
    for name in settings.papers if isinstance(settings.papers, list) else []:
        if name not in papers:
            hint = nearest(name, ["all", "every", *papers])
            raise UserError(f"{where('papers')}: {name!r} is no file of config/papers{hint} ({', '.join(papers)})")
    tables = [table for paper in papers.values() for table in paper.tables]
    for name in settings.tables if isinstance(settings.tables, list) else []:
        if name not in tables:
            raise UserError(
                f"{where('tables')}: {name!r} is no table{nearest(name, ['all', 'every', *tables])} ({', '.join(tables)})"
            )
    chosen = [
        table
        for name, paper in papers.items()
        if settings.papers in ("all", "every") or name in settings.papers
        for table in paper.tables
    ]
    if isinstance(settings.tables, list) and not set(chosen) & set(settings.tables):
        raise UserError(
            f"{where('tables')}: none of {', '.join(settings.tables)} belongs to the chosen papers; mend either list"
        )
    doubled = {name for name in tables if tables.count(name) > 1}
    if doubled:
        raise UserError(f"config/papers: table '{min(doubled)}' stands in two papers; rename one")
    config = Config(root, settings, datasets, settings.scale, scale, recipes, papers)
    if not any(config.is_chosen(name, table) for name, paper in papers.items() for table in paper.tables):
        raise UserError(
            f"{where('tables')}: all tables of the chosen papers are optional; write 'every', or name some ({', '.join(chosen)})"
        )
    for name in scale.unnamed:
        if name not in papers:
            raise UserError(
                f"{_where(scale_file, 'unnamed')}: {name!r} is no file of config/papers{nearest(name, list(papers))}"
            )
    return config


def _where(path: Path, key: str, overrides: dict[str, Any] | None = None) -> str:
    """Where a choice was made, for messages: on the command line, or in which line of which file."""
    if overrides and key in overrides:
        return f"command line: {key}"
    name = path.relative_to(path.parents[path.parts[::-1].index("config")])
    return f"{name}{_line(path, [key])}: {key}"


def _choice(folder: Path, where: str, name: str) -> Path:
    known = sorted(entry.stem for entry in folder.glob("*.yaml"))
    if name not in known:
        hint = nearest(name, known)
        raise UserError(f"{where}: {name!r} is no file of config/{folder.name}{hint} ({', '.join(known)})")
    return folder / f"{name}.yaml"


def load_yaml(path: Path, root: Path) -> Any:
    """The content of a YAML file; ``UserError`` if it is missing or is not YAML."""
    name = path.relative_to(root) if path.is_relative_to(root) else path
    try:
        return yaml.load(path.read_bytes(), Loader=Loader)  # noqa: S506 (a subclass of the safe loader)
    except FileNotFoundError:
        raise UserError(f"{name}: missing; restore it, for example with `git checkout {name}`") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"{name}{line}: not readable as YAML: {getattr(error, 'problem', error)}") from None


def _read(model: type[M], path: Path, root: Path, overrides: dict[str, Any] | None = None) -> M:
    value = load_yaml(path, root)
    name = str(path.relative_to(root))
    if not isinstance(value, dict):
        raise UserError(f"{name}: expected keys and values, found {_show(value)}")
    try:
        return model.model_validate(value | (overrides or {}))
    except ValidationError as error:
        raise UserError(explain(error, model, name, path, overrides or {})) from None


def explain(error: ValidationError, model: type[BaseModel], name: str, path: Path | None, overrides: dict) -> str:
    """The first two problems of a validation, a line each: file, line, key, value, and what to write instead."""
    problems = error.errors()
    # A misspelt key is also a missing one: say it once.
    misspelt = {problem["loc"][:-1] for problem in problems if problem["type"] == "extra_forbidden"}
    problems = [p for p in problems if p["type"] != "missing" or p["loc"][:-1] not in misspelt]
    lines = []
    for problem in problems[:2]:
        keys, owner = _walk(model, list(problem["loc"]))
        keys += problem.get("ctx", {}).get("key", "").split(".") if problem["type"] == "at_key" else []
        where = "command line" if keys and keys[0] in overrides else f"{name}{_line(path, keys)}"
        lines.append(f"{where}: {'.'.join(map(str, keys)) or 'file'}: {_remedy(problem, owner)}")
    if len(problems) > 2:
        lines[-1] += f" (and {len(problems) - 2} more)"
    return "\n".join(lines)


def _remedy(problem: dict, owner: type[BaseModel] | None) -> str:
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        known = list(owner.model_fields) if owner else []
        return f"unknown key{nearest(str(problem['loc'][-1]), known)} (known: {', '.join(known)})"
    if kind == "missing":
        return "missing; add it (there are no hidden defaults)"
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"]) or [context["expected"]]
        return f"{_show(value)} is not one of {', '.join(choices)}{nearest(str(value), choices)}"
    if kind == "union_tag_invalid":
        choices = re.findall(r"'([^']*)'", context["expected_tags"])
        return f"'{context['tag']}' is not one of {', '.join(choices)}{nearest(str(context['tag']), choices)}"
    if kind == "union_tag_not_found":
        return f"{context['discriminator']} is missing; add it"
    if kind == "at_key":
        return problem["msg"]
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return f"{_show(value)} does not match {context['pattern']}"
    message = (
        problem["msg"]
        .replace("Input should be", "expected")
        .replace("a valid ", "a ")
        .replace("a integer", "a whole number")
    )
    return f"found {_show(value)}, {message[0].lower()}{message[1:]}"


def _show(value: Any) -> str:
    kinds = {str: "text", bool: "true/false", int: "a whole number", float: "a number", list: "a list", dict: "keys"}
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({kinds.get(type(value), 'nothing')})"


def _walk(annotation: Any, location: list) -> tuple[list, type[BaseModel] | None]:
    """The keys a user wrote (pydantic's own marks for unions left out), and the model that owns the last one."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _walk(get_args(annotation)[0], location)
    if not location:
        return [], None
    head, *rest = location
    if origin in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        tagged = [member for member in members if head in _tags(member)]
        if tagged:
            return _walk(tagged[0], rest)
        if len(members) == 1:
            return _walk(members[0], location)
        return _walk(None, rest) if isinstance(head, str) else ([], None)
    if origin is dict:
        keys, owner = _walk(get_args(annotation)[1], rest)
        return [head, *keys], owner
    if origin is list:
        keys, owner = _walk(get_args(annotation)[0], rest)
        return [head, *keys], owner
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(head)
        keys, owner = _walk(field.annotation if field else None, rest)
        return [head, *keys], owner or (annotation if not rest or field is None else None)
    return [], None


def _tags(member: Any) -> list[str]:
    member = get_args(member)[0] if get_origin(member) is Annotated else member
    fields = getattr(member, "model_fields", {})
    return [
        tag
        for key in ("kind", "name")
        if key in fields and get_origin(fields[key].annotation) is Literal
        for tag in get_args(fields[key].annotation)
    ]


def _line(path: Path | None, keys: list) -> str:
    """``:12`` for the line on which a key stands; the nearest parent when it does not stand anywhere."""
    if path is None:
        return ""
    node, line = yaml.compose(path.read_text(), Loader=yaml.SafeLoader), 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(key)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            break
    return f":{line}"
