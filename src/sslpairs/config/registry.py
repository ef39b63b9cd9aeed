"""Registry of pairs of files with the same name: settings under ``config/``, the implementation elsewhere.

There is no list of them: every file in the folder is registered.
"""

from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TypeVar

from sslpairs.config.base import Model
from sslpairs.errors import UserError

M = TypeVar("M", bound=Model)


def scan(package: str, base: type[M], other: str) -> dict[str, type[M]]:
    """Return a mapping from each file name in ``package`` to the settings class (a subclass of ``base``) that it defines.

    Raise ``UserError`` for a file without such a class, or without a counterpart in the package ``other``.
    """
    classes = {}
    for name in sorted(module.name for module in iter_modules(import_module(package).__path__)):
        if name == "base":
            continue
        module = import_module(f"{package}.{name}")
        own = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
        ]
        if len(own) != 1:
            raise UserError(
                f"{_file(package, name)}: defines {len(own)} settings classes ({base.__name__}); define exactly one"
            )
        if lacking := sorted(getattr(own[0], "__abstractmethods__", ())):
            raise UserError(f"{_file(package, name)}: {own[0].__name__} has no {' and no '.join(lacking)}; write it")
        if not find_spec(f"{other}.{name}"):
            raise UserError(f"{_file(other, name)} is missing, the counterpart of {_file(package, name)}; write it")
        classes[name] = own[0]
    return classes


def other_half(package: str, name: str, settings: type[Model]) -> type:
    """Return the class that these settings are for, from the file of the same name: ``SimCLR`` for ``SimCLRSettings``. Raise
    ``UserError`` if there is none."""
    title = settings.__name__.removesuffix("Settings")
    try:
        return getattr(import_module(f"{package}.{name}"), title)
    except AttributeError:
        raise UserError(f"{_file(package, name)}: has no class {title} to match its settings; write it") from None


def _file(package: str, name: str) -> str:
    return f"src/{package.replace('.', '/')}/{name}.py"
