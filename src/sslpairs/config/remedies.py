"""Describe configuration errors as text: file, line, key, value, and what to write instead."""

import re
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sslpairs.config.base import NAME
from sslpairs.config.loading import line_of
from sslpairs.errors import nearest, shown


def explain(error: ValidationError, model: type[BaseModel], name: str, path: Path | None, overrides: dict) -> str:
    """Describe the first two validation errors, one line each: file, line, key, value, and what to write instead."""
    problems = error.errors()
    # A misspelt key is also a missing one: report it once.
    misspelt = {problem["loc"][:-1] for problem in problems if problem["type"] == "extra_forbidden"}
    problems = [p for p in problems if p["type"] != "missing" or p["loc"][:-1] not in misspelt]
    lines = []
    for problem in problems[:2]:
        keys, owner = _walk(model, list(problem["loc"]))
        keys += problem.get("ctx", {}).get("key", "").split(".") if problem["type"] == "at_key" else []
        where = "command line" if keys and keys[0] in overrides else f"{name}{line_of(path, keys)}"
        lines.append(f"{where}: {'.'.join(map(shown, keys)) or 'file'}: {_remedy(problem, owner)}")
    if len(problems) > 2:
        lines[-1] += f" (and {len(problems) - 2} more)"
    return "\n".join(lines)


def _remedy(problem: dict, owner: type[BaseModel] | None) -> str:
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        known = list(owner.model_fields) if owner else []
        key = str(problem["loc"][-1])
        if re.fullmatch(r"\d+([eE][-+]?\d+)?", key):  # {lr: 1,0e-3}
            return "unknown key: is it the rest of a number with a decimal comma? Write a point: 1.5, not 1,5"
        return f"unknown key{nearest(key, known)} (known: {', '.join(known)})"
    if kind == "missing":
        return "missing; add it (there are no hidden defaults)"
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"]) or [context["expected"]]
        return f"{show(value)} is not one of {', '.join(choices)}{nearest(str(value), choices)}"
    if kind == "union_tag_invalid":
        choices = re.findall(r"'([^']*)'", context["expected_tags"])
        return f"'{shown(context['tag'])}' is not one of {', '.join(choices)}{nearest(str(context['tag']), choices)}"
    if kind == "union_tag_not_found":
        return f"{context['discriminator']} is missing; add it"
    if kind == "at_key":
        return problem["msg"]
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch" and context["pattern"] == NAME:
        return f"'{shown(value)}' is not a valid name: use only letters, digits, '-', '_' and '.', and start with a letter or digit"
    if kind == "string_pattern_mismatch":
        return f"{show(value)} does not match {context['pattern']}"
    message = (
        problem["msg"]
        .replace("Input should be", "expected")
        .replace("a valid ", "a ")
        .replace("a integer", "a whole number")
    )
    return f"found {show(value)}, {message[0].lower()}{message[1:]}{_hint(kind, value)}"


def _hint(kind: str, value: Any) -> str:
    """Return how to write a number, boolean or string that seems to be meant differently from how YAML 1.2 reads it."""
    if kind == "string_type" and not isinstance(value, list | dict):
        return "; write it in quotes if it is text"
    if kind == "too_long" and isinstance(value, list) and all(isinstance(item, int) for item in value):
        return "; decimals are written with a point: 0.5, not 0,5"
    if not isinstance(value, str):
        return ""
    word = value.strip().lower()
    if kind == "bool_type" and word in ("yes", "on", "no", "off", "true", "false"):
        return f"; write {'true' if word in ('yes', 'on', 'true') else 'false'}" + " without quotes" * (word[0] in "tf")
    if kind not in ("int_type", "float_type"):
        return ""
    number = r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?"
    if re.fullmatch(number, word):
        return f"; write {shown(word)} without quotes"
    if re.fullmatch(number, plain := re.sub(r"(?<=\d)[_' ](?=\d{3})", "", word)):
        return f"; write {shown(plain)} without separators between the digits"
    if re.fullmatch(number, point := word.replace(",", ".")):
        return f"; decimals are written with a point, not a comma: write {shown(point)}" * (kind == "float_type")
    return "; write one number in decimal digits" if re.fullmatch(r"\d+(:\d+)+|0[bo]?\d+", word) else ""


def show(value: Any) -> str:
    """A value and its type, for example ``'x' (text)``."""
    kinds = {str: "text", bool: "true/false", int: "a whole number", float: "a number", list: "a list", dict: "keys"}
    return f"{shown(repr(value))} ({kinds.get(type(value), 'nothing')})"


def _walk(annotation: Any, location: list) -> tuple[list, type[BaseModel] | None]:
    """The keys as the user wrote them (without pydantic's markers for unions), and the model that owns the last one."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _walk(get_args(annotation)[0], location)
    if not location:
        return [], None
    head, *rest = location
    if rest == ["[key]"]:  # the key itself is wrong
        return [head], None
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
