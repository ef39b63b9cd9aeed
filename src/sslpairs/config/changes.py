"""Change one value of the configuration, as an edit of its file would: for ablations in columns and for ``explain --if``."""

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from sslpairs.config.loading import read_value
from sslpairs.config.reading import Config
from sslpairs.config.recipes import Recipe
from sslpairs.config.remedies import explain
from sslpairs.config.scales import Scale
from sslpairs.config.settings import Settings
from sslpairs.errors import UserError, nearest, shown

ROOMS = ("methods", "strategies", "training")
"""Parts of a recipe whose name may be omitted from a key."""
SPOKEN = {"method": "methods", "strategy": "strategies"}


def with_change(config: Config, word: str) -> Config:
    """Return the configuration after ``KEY=VALUE``: a key of a recipe (``methods.simclr.temperature``, ``strategies.gps.neighbours``,
    ``training.optimizer.lr``, ``evaluation.knn.neighbours``; in every recipe of the scale that has it), a choice of
    ``config.yaml`` (``seeds``), or ``scale.epochs.default``. Raise ``UserError`` for an unknown key or an invalid value."""
    key, equals, text = word.partition("=")
    where = f"--if {shown(word)}"
    if not equals or not key:
        raise UserError(f"{where}: write KEY=VALUE, for example --if methods.simclr.temperature=0.2")
    new = read_value(text, where)
    first, _, rest = key.partition(".")
    if first in Settings.model_fields and not rest:
        if first == "scale":
            raise UserError(
                f"{where}: a different scale has entirely different runs: use `sslpairs plan --set scale={text}`"
            )
        return replace(config, settings=_validated(Settings, config.settings.model_dump() | {first: new}, where))
    if first == "scale":
        value = config.scale.model_dump()
        set_value(value, rest, new, where)
        return replace(config, scale=_validated(Scale, value, where))
    words = [SPOKEN.get(first, first), *([rest] if rest else [])]
    recipes, problem = {}, None
    for name, recipe in config.recipes.items():
        value = recipe.model_dump()
        try:
            set_value(value, ".".join(words), new, where, ROOMS)
        except UserError as error:
            problem = problem or error
            continue
        recipes[name] = _validated(Recipe, value, where)
    if not recipes:
        raise problem or UserError(f"{where}: the scale has no recipes")
    return replace(config, recipes=config.recipes | recipes)


def set_value(value: dict, key: str, new: Any, where: str, rooms: tuple[str, ...] = ()) -> None:
    """Set a dotted key of nested values; the names in ``rooms`` may be omitted. Raise ``UserError`` for a key that does not
    exist."""
    words = key.split(".")
    known = [*value, *(name for room in rooms for name in value[room])]
    for room in rooms:
        if words[0] not in value and words[0] in value[room]:
            words.insert(0, room)
    for depth, word in enumerate(words):
        if not isinstance(value, dict) or word not in value:
            choices = known if depth == 0 else list(value) if isinstance(value, dict) else []
            raise UserError(f"{where}: '{shown(key)}': no key '{shown(word)}' there{nearest(word, choices)}")
        if depth == len(words) - 1:
            value[word] = new
        value = value[word]


def _validated(model: type, value: dict, where: str) -> Any:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise UserError(explain(error, model, where, None, {})) from None
