"""Check that a scale and the papers' tables use the same names. A name that matches nothing would be ignored silently."""

from collections.abc import Callable, Iterable

from sslpairs.config.papers import ColumnSettings, Paper
from sslpairs.config.scales import Scale, Unnamed
from sslpairs.errors import UserError, nearest, shown

MAPS = {
    "datasets": ("dataset", "evaluate_on"),
    "backbones": ("backbone",),
    "batch_sizes": ("batch_size",),
    "epochs": ("epochs",),
}
"""Maps of a scale -> the keys of a table whose values are looked up in them."""
ALIKE = 0.85
"""Minimum similarity at which an unknown name is treated as a typo: 'CIFAR10' is one, 'resnet101' next to 'resnet18' is not."""

Where = Callable[..., str]
"""File, line and key of nested keys, for messages."""


def check_scale(scale: Scale, papers: dict[str, Paper], where: Where) -> list[str]:
    """Raise ``UserError`` for a key that looks like a typo of one that a table needs, and for a value of ``unnamed`` that the maps
    do not have. Return a note for every other key that matches nothing: its paper may not be here."""
    notes = []
    for paper, by_dataset in scale.unnamed.items():
        if paper not in papers:
            raise UserError(
                f"{where('unnamed')}: '{shown(paper)}' is not a file in config/papers{nearest(paper, papers)}"
            )
        own = _names(_settings(papers[paper]), "datasets")
        notes += _unmatched(by_dataset, own, f"no table in config/papers/{paper}.yaml uses it", where, "unnamed", paper)
        for dataset, values in by_dataset.items():
            for kind, (key, *_) in MAPS.items():
                value = getattr(values, key, None)
                if value is not None and str(value) not in (known := getattr(scale, kind)):
                    raise UserError(
                        f"{where('unnamed', paper, dataset, key)}: '{shown(value)}' is not in the scale's {kind}: "
                        f"correct it or add it there{nearest(str(value), known)}"
                    )
    everything = [setting for paper in papers.values() for setting in _settings(paper)]
    everything += [values for by_dataset in scale.unnamed.values() for values in by_dataset.values()]
    for kind in MAPS:
        notes += _unmatched(
            getattr(scale, kind), _names(everything, kind), "no table in config/papers names it", where, kind
        )
    return notes


def _unmatched(keys: Iterable[str], names: set[str], why: str, where: Where, *parents: str) -> list[str]:
    """Return notes about keys that are not among the names; raise ``UserError`` for one that resembles a name without a key."""
    keys, notes = list(keys), []
    for key in keys:
        if key in names or key == "default":
            continue
        if hint := nearest(key, names.difference(keys), ALIKE):
            raise UserError(f"{where(*parents, key)}: {why}{hint}")
        notes.append(f"{where(*parents, key)}: {why}, so it has no effect")
    return notes


def check_paper(paper: Paper, known: dict[str, set[str]], where: Where, scale_file: str) -> None:
    """Raise ``UserError`` for a data set or network that no scale has and that looks like a typo of one that some scale has.

    The scale's ``default`` would replace it, which would merge two columns into one.
    """
    for name, table in paper.tables.items():
        settings = {("setting",): table.setting} | {("columns", i): column for i, column in enumerate(table.columns)}
        for keys, setting in settings.items():
            for kind in ("datasets", "backbones"):
                for key in MAPS[kind]:
                    value = getattr(setting, key)
                    if value is None or value in known[kind]:
                        continue
                    if hint := nearest(value, known[kind], ALIKE):
                        raise UserError(
                            f"{where('tables', name, *keys, key)}: no scale has '{shown(value)}'{hint} If it is a different one, list it "
                            f"in {kind} of {scale_file}"
                        )


def _settings(paper: Paper) -> list[ColumnSettings]:
    return [setting for table in paper.tables.values() for setting in (table.setting, *table.columns)]


def _names(settings: Iterable[ColumnSettings | Unnamed], kind: str) -> set[str]:
    """Values that the settings give for one map of the scale."""
    values = [getattr(setting, key, None) for setting in settings for key in MAPS[kind]]
    return {str(value) for value in values if value is not None}
