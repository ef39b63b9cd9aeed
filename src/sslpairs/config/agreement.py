"""Whether a scale and the papers' tables use the same names: one that matches nothing would be passed over without a word."""

from collections.abc import Callable, Iterable

from sslpairs.config.papers import Paper, Setting
from sslpairs.config.scales import Scale, Unnamed
from sslpairs.errors import UserError, nearest, shown

MAPS = {
    "datasets": ("dataset", "evaluate_on"),
    "backbones": ("backbone",),
    "batch_sizes": ("batch_size",),
    "epochs": ("epochs",),
}
"""Maps of a scale, and the keys of a table whose values stand in them."""
ALIKE = 0.85
"""From which similarity on a name that no scale has is taken for a slip: 'CIFAR10' is, 'resnet101' beside 'resnet18' is not."""

Where = Callable[..., str]
"""File, line and key of nested keys, for messages."""


def check_scale(scale: Scale, papers: dict[str, Paper], where: Where) -> list[str]:
    """``UserError`` for a key that looks like a slip for one that a table needs, and for what ``unnamed`` says that the maps do not
    have. Returns a note for every other key that matches nothing: its paper may not be here."""
    notes = []
    for paper, places in scale.unnamed.items():
        if paper not in papers:
            raise UserError(f"{where('unnamed')}: '{shown(paper)}' is no file of config/papers{nearest(paper, papers)}")
        own = _names(_settings(papers[paper]), "datasets")
        notes += _unmatched(places, own, f"no table of config/papers/{paper}.yaml is about it", where, "unnamed", paper)
        for dataset, values in places.items():
            for kind, (key, *_) in MAPS.items():
                value = getattr(values, key, None)
                if value is not None and str(value) not in (known := getattr(scale, kind)):
                    raise UserError(
                        f"{where('unnamed', paper, dataset, key)}: '{shown(value)}' does not stand in the scale's {kind}"
                        f"{nearest(str(value), known)} Correct it, or add it there"
                    )
    everything = [setting for paper in papers.values() for setting in _settings(paper)]
    everything += [values for places in scale.unnamed.values() for values in places.values()]
    for kind in MAPS:
        notes += _unmatched(
            getattr(scale, kind), _names(everything, kind), "no table of config/papers names it", where, kind
        )
    return notes


def _unmatched(keys: Iterable[str], names: set[str], why: str, where: Where, *place: str) -> list[str]:
    """Notes about keys that are not among the names; ``UserError`` for one that is like a name that has no key."""
    keys, notes = list(keys), []
    for key in keys:
        if key in names or key == "default":
            continue
        if hint := nearest(key, names.difference(keys), ALIKE):
            raise UserError(f"{where(*place, key)}: {why}{hint}")
        notes.append(f"{where(*place, key)}: {why}, so that it has no effect")
    return notes


def check_paper(paper: Paper, known: dict[str, set[str]], where: Where, scale_file: str) -> None:
    """``UserError`` for a data set or network that no scale has, and that looks like a slip for one that some scale has.

    A ``default`` of the scale would stand in for it, so that two columns become one.
    """
    for name, table in paper.tables.items():
        places = {("setting",): table.setting} | {("columns", i): column for i, column in enumerate(table.columns)}
        for keys, setting in places.items():
            for kind in ("datasets", "backbones"):
                for key in MAPS[kind]:
                    value = getattr(setting, key)
                    if value is None or value in known[kind]:
                        continue
                    if hint := nearest(value, known[kind], ALIKE):
                        raise UserError(
                            f"{where('tables', name, *keys, key)}: no scale has '{shown(value)}'{hint} If it is another one, list it "
                            f"in {kind} of {scale_file}"
                        )


def _settings(paper: Paper) -> list[Setting]:
    return [setting for table in paper.tables.values() for setting in (table.setting, *table.columns)]


def _names(settings: Iterable[Setting | Unnamed], kind: str) -> set[str]:
    """What settings name for a map of the scale."""
    values = [getattr(setting, key, None) for setting in settings for key in MAPS[kind]]
    return {str(value) for value in values if value is not None}
