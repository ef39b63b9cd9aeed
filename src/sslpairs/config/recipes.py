"""``config/recipes/``: the hyper-parameters of a training. A recipe states every value. The few optional keys have no effect
when omitted (no separate second view, no plateau of the learning rate, no strategy value for a single method).

Names and symbols follow the papers; their formulas are in ``methods/`` and ``pairs/``.
"""

from typing import Annotated, Any

from pydantic import Field, ValidationError, create_model, model_validator
from pydantic_core import PydanticCustomError

from sslpairs.config import guides, networks, optimization, views
from sslpairs.config.backbones import BACKBONES
from sslpairs.config.base import Model, Name, Title
from sslpairs.config.methods import METHODS
from sslpairs.config.optimization import Training
from sslpairs.config.protocols import PROTOCOLS, Protocols
from sslpairs.config.strategies import STRATEGIES
from sslpairs.config.views import Augmentation
from sslpairs.errors import listed, nearest, shown

Methods = create_model(
    "Methods",
    __base__=Model,
    __doc__="Base methods for which a recipe has values.",
    **{name: (method | None, None) for name, method in METHODS.items()},
)
Strategies = create_model(
    "Strategies",
    __base__=Model,
    __doc__="Pair strategies for which a recipe has values.",
    **{name: (strategy | None, None) for name, strategy in STRATEGIES.items()},
)


class Recipe(Model):
    """One file of ``config/recipes/``."""

    title: Title
    about: str
    """Source of the values, the results they reach, and the cost and hardware."""
    augmentations: Annotated[dict[Name, Augmentation], Field(min_length=1)]
    training: Training
    methods: Methods
    strategies: Strategies
    evaluation: Protocols

    @model_validator(mode="after")
    def _names(self):
        entries = [("training", self.training.augmentation)]
        for name in METHODS:
            settings = getattr(self.methods, name)
            if settings and settings.training and settings.training.augmentation:
                entries.append((f"methods.{name}.training", settings.training.augmentation))
        for name in filter(lambda name: STRATEGIES[name].guided(), STRATEGIES):
            settings = getattr(self.strategies, name)
            where = f"strategies.{name}.guide"
            if settings and (instead := guides.PLANNED.get(settings.guide.kind)):
                raise _at(f"{where}.kind", f"'{settings.guide.kind}' is for plans only; write {instead}")
            if settings and settings.guide.kind == "run":
                entries.append((where, settings.guide.augmentation))
        for base in METHODS:
            if settings := getattr(self.methods, base):
                for name in settings.strategies:
                    self.strategy(base, name)
        for where, value in entries:
            if value not in self.augmentations:
                known = list(self.augmentations)
                raise _at(
                    f"{where}.augmentation",
                    f"'{shown(value)}' is not one of the recipe's augmentations{nearest(value, known)} ({listed(known)})",
                )
        return self

    def strategy(self, base: str, name: str) -> Any:
        """Return the settings of a pair strategy under a base method: the recipe's, overridden by the method's own values.

        None if the recipe has none. Raise a validation error that names the key.
        """
        where = f"methods.{base}.strategies.{name}"
        if name not in STRATEGIES:
            raise _at(where, f"'{shown(name)}' is not a pair strategy{nearest(name, list(STRATEGIES))}")
        settings, change = getattr(self.strategies, name), getattr(self.methods, base).strategies.get(name)
        if not change:
            return settings
        if settings is None:
            raise _at(where, f"changes values of '{name}', but strategies.{name} has none; add them there")
        for key in change:
            if unused := STRATEGIES[name].unused(key, METHODS[base]):
                raise _at(f"{where}.{key}", f"{unused}; leave it out")
        if "guide" in change:
            raise _at(f"{where}.guide", "a guide is the same for all methods; change it in strategies")
        try:
            return type(settings).model_validate(settings.model_dump() | change)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise _at(f"{where}.{key}".rstrip("."), first["msg"].removeprefix("Value error, ")) from None


def _at(key: str, message: str) -> PydanticCustomError:
    """Create an error for a nested key, which ``config/remedies.py`` then names in its message."""
    return PydanticCustomError("at_key", "{message}", {"key": key, "message": message})


def __getattr__(name: str) -> Any:
    """Look up settings classes by name, whichever file defines them: ``recipes.SimCLRSettings``, ``recipes.HeadSettings``."""
    classes = {
        settings.__name__: settings
        for settings in (*METHODS.values(), *STRATEGIES.values(), *PROTOCOLS.values(), *BACKBONES.values())
    }
    for module in (guides, networks, optimization, views):
        classes |= vars(module)
    if name in classes:
        return classes[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
