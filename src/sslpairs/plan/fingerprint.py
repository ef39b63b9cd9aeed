"""Fingerprints of the code that can change a result, found by following imports from the module that computes it.

They ignore comments, docstrings and formatting, and reflect logic and defaults.
"""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from sslpairs.files import sha256_text

PACKAGE = Path(__file__).parents[1]
SILENT = (
    "errors",
    "words",
    "files",
    "git",
    "config.protocols",
    "plan.build",
    "plan.paths",
    "plan.progress",
    "plan.records",
    "plan.fingerprint",
    "training.provenance",
)
"""Modules that report, list, find or write results without changing numbers; imports are not followed into them."""


@cache
def training_code(base: str, strategies: tuple[str, ...], backbone: str) -> str:
    """Fingerprint of training a base method with pair strategies on a kind of backbone; files of other methods are not included."""
    own = [f"{room}.{base}" for room in ("methods", "config.methods")]
    own += [f"{room}.{name}" for name in strategies for room in ("pairs", "config.strategies")]
    own += [f"{room}.{backbone}" for room in ("backbones", "config.backbones")]
    return fingerprint("training.trainer", *own)


@cache
def evaluation_code(protocols: tuple[str, ...], backbone: str) -> str:
    """Fingerprint of an evaluation under these protocols, including feature extraction; files of other protocols are not included."""
    own = [f"{room}.{name}" for name in protocols for room in ("evaluation", "config.protocols")]
    own += [f"{room}.{backbone}" for room in ("backbones", "config.backbones")]
    return fingerprint("evaluation.evaluate", *own)


@cache
def baseline_code(protocols: tuple[str, ...], backbone: str | None) -> str:
    """Fingerprint of a baseline under these protocols; ``backbone`` is None for one without a network."""
    own = [f"{room}.{name}" for name in protocols for room in ("evaluation", "config.protocols")]
    own += [f"{room}.{backbone}" for room in ("backbones", "config.backbones") if backbone]
    return fingerprint("evaluation.baselines", *own)


@cache
def paper_code() -> str:
    """Fingerprint of the code for tables and figures."""
    files = sorted((PACKAGE / "paper").rglob("*.py"))
    return fingerprint(*(".".join(file.relative_to(PACKAGE).with_suffix("").parts) for file in files))


def fingerprint(*modules: str) -> str:
    """Return the first 12 hex digits of the SHA-256 over the logic of these modules of the package and of all that they import."""
    texts = [f"{name}\n{_read(file)[1]}" for name, file in sorted(reached(modules).items())]
    return sha256_text("\n".join(texts))[:12]


def reached(modules: Iterable[str]) -> dict[str, Path]:
    """Map these modules of the package, and those that they import from it, to their files."""
    files, todo = {}, [name for name in modules if name not in SILENT]
    while todo:
        name = todo.pop()
        file = _file(name)
        if file and name not in files:
            files[name] = file
            todo += [other for other in _read(file)[0] if other not in SILENT]
    return files


def _file(name: str) -> Path | None:
    path = PACKAGE.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def _read(file: Path) -> tuple[list[str], str]:
    """Return the names in the package that a file imports, also inside functions (some are functions and classes), and its logic."""
    tree, imports = ast.parse(file.read_bytes()), []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imports += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        body = getattr(node, "body", None)
        if isinstance(body, list):  # docstrings, including those of attributes
            body[:] = [statement for statement in body if not _is_text(statement)]
    own = [name.removeprefix("sslpairs.") for name in imports if name.startswith("sslpairs.")]
    return own, ast.unparse(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
