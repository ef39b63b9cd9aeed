"""The YAML of this project, in files and on the command line.

Numbers, true, false and null follow the core schema of YAML 1.2: ``010`` is not octal, ``1:30`` and ``1_000`` are not numbers, and
``yes``, ``no``, ``on`` and ``off`` are strings. Keys are always strings.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from sslpairs.errors import UNSEEN, UserError, shown

DEEPEST = 32
"""Levels of nesting. Much deeper nesting would crash the process: libyaml recurses without checking the stack."""
MOST_VALUES = 200_000
"""Values in a file with every alias expanded: a few lines of nested aliases would exhaust memory."""
LONGEST_TEXT = 20_000
LONGEST_NUMBER = 30
LARGEST_FILE = 4_000_000
"""Bytes."""
TEXT = "tag:yaml.org,2002:str"


class Refused(yaml.MarkedYAMLError):
    """Well-formed YAML that cannot be a configuration."""

    def __init__(self, problem: str, mark: yaml.Mark):
        super().__init__(None, None, problem, mark)


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Safe YAML 1.2 loader in which keys are strings and unique."""

    yaml_implicit_resolvers: dict[str, list] = {}  # none of YAML 1.1's

    def construct_object(self, node, deep=False):  # noqa: D102
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # such as !!int x
            raise Refused(str(error), node.start_mark) from None

    def construct_mapping(self, node, deep=False):  # noqa: D102
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Refused("a key must be one word", key.start_mark)
            if key.value in seen:
                raise Refused(f"'{shown(key.value)}' is given twice; keep one", key.start_mark)
            seen.add(key.value)
            if key.tag != "tag:yaml.org,2002:merge":
                key.tag = TEXT
        return super().construct_mapping(node, deep)


def _whole_number(loader: Loader, node: yaml.ScalarNode) -> int:
    text = node.value
    if len(text) > LONGEST_NUMBER:
        raise Refused(f"a number of {len(text)} digits; no value is that large", node.start_mark)
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0" and digits.isdecimal():
        raise Refused(f"{text}: ambiguous, some programs read it as octal; write {int(text)}", node.start_mark)
    return int(text, 0)


def _number(loader: Loader, node: yaml.ScalarNode) -> float:
    return float(re.sub(r"(?i)\.(inf|nan)", r"\1", node.value))


for _name, _words, _first in [
    ("null", "~|null|Null|NULL|", "~nN"),
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", "<<", "<"),
]:
    _places = [*_first, ""] if _name == "null" else list(_first)
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^({_words})$"), _places)
Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
Loader.add_constructor("tag:yaml.org,2002:float", _number)


def load_yaml(path: Path, root: Path) -> Any:
    """Return the content of a YAML file. Raise ``UserError`` if it is missing, cannot be read or is not YAML."""
    name = path.relative_to(root) if path.is_relative_to(root) else path
    try:
        if path.is_dir():
            raise UserError(f"{name}: a folder, but a file is expected; rename or remove it")
        if path.exists() and not path.is_file():
            raise UserError(f"{name}: not a file (a pipe or a device); rename or remove it")
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{name}: missing; restore it, for example with `git checkout {name}`") from None
    except OSError as error:
        raise UserError(
            f"{name}: cannot be read ({error.strerror}); restore it, for example with `git checkout {name}`"
        ) from None
    if len(content) > LARGEST_FILE:
        raise UserError(
            f"{name}: {len(content):,} bytes; a configuration file has at most {LARGEST_FILE:,}: is it the wrong file?"
        )
    return _load(content, str(name), ":")


def read_value(text: str, where: str) -> Any:
    """Parse a value from the command line as in a file. Raise ``UserError`` that begins with ``where`` if it is invalid."""
    return _load(text, where, "")


def _load(content: bytes | str, where: str, line: str) -> Any:
    try:
        _check(content)
        return yaml.load(content, Loader=Loader)  # noqa: S506 (a subclass of the safe loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f"{where}:{mark.line + 1}" if line and mark else where
        problem = (
            str(error.problem) if isinstance(error, Refused) else f"not readable as YAML: {_words_of(error, content)}"
        )
        raise UserError(f"{at}: {problem}") from None


def _check(content: bytes | str) -> None:
    """Raise ``Refused`` for content that would crash or exhaust memory when loaded or printed, and for invisible characters."""
    sizes: dict[str, int] = {}
    """Number of values under each anchor."""
    open_nodes: list[list] = []
    """Anchor and number of values so far of each open list or mapping."""
    for event in yaml.parse(content, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append([event.anchor, 1])
            if len(open_nodes) > DEEPEST:
                raise Refused(f"nested deeper than {DEEPEST} levels, the maximum", event.start_mark)
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
        elif isinstance(event, yaml.ScalarEvent):
            _check_text(event)
            anchor, size = event.anchor, 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in [begun for begun, _ in open_nodes]:
                raise Refused(f"*{shown(event.anchor)} refers to itself; write it out", event.start_mark)
            anchor, size = None, sizes.get(event.anchor, 1)
        else:
            continue
        if anchor:
            sizes[anchor] = size
        if open_nodes:
            open_nodes[-1][1] += size
            if open_nodes[-1][1] > MOST_VALUES:
                raise Refused(
                    f"more than {MOST_VALUES:,} values with aliases (*) expanded; use fewer", event.start_mark
                )


def _check_text(event: yaml.ScalarEvent) -> None:
    if len(event.value) > LONGEST_TEXT:
        raise Refused(
            f"a text of {len(event.value):,} characters ('{shown(event.value)}'); write at most {LONGEST_TEXT:,}",
            event.start_mark,
        )
    if match := UNSEEN.search(event.value):
        raise Refused(
            f"'{shown(event.value)}' contains the invisible character U+{ord(match[0]):04X}, which changes how the text is shown; "
            "remove it",
            event.start_mark,
        )


def _words_of(error: yaml.YAMLError, content: bytes | str) -> str:
    """Describe the problem and, for frequent mistakes, the remedy."""
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.reason} at position {error.position}; save the file as text in UTF-8"
    problem, mark = str(getattr(error, "problem", error)), getattr(error, "problem_mark", None)
    if "another document" in problem:
        return "a second document begins (---); keep one"
    if "cannot start any token" in problem and mark and isinstance(content, bytes):
        lines = content.splitlines()
        if mark.line < len(lines) and b"\t" in lines[mark.line][: mark.column + 1]:
            return "a tab where an indent or a value is expected; write spaces"
    return problem


def line_of(path: Path | None, keys: list) -> str:
    """Return ``:12`` for the line of a key, or of its nearest parent if the key is not in the file."""
    if path is None:
        return ""
    node, line = yaml.compose(path.read_bytes(), Loader=Loader), 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            matches = [(k, v) for k, v in node.value if k.value == str(key)]
            if not matches:
                break
            line, node = matches[0][0].start_mark.line + 1, matches[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            break
    return f":{line}"
