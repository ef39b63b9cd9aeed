"""Data sets in the terminal: which are here, and where the others come from."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.table import Table

from sslpairs.data.memory import in_bytes
from sslpairs.workflow.fetch import BY_HAND, DOWNLOAD, Availability


def listing(found: Iterable[Availability]) -> Table:
    """``sslpairs fetch --list``: as wide as a terminal; ``origins`` are printed below it."""
    view = Table(title="Data sets of config/datasets.yaml", title_justify="left")
    for column in ("data set", "training", "test", "download", "state"):
        view.add_column(column, justify="left" if column in ("data set", "state") else "right")
    for one in found:
        images = [f"{count:,}" for count in one.images] if one.images else ["-", "-"]
        view.add_row(one.name, *images, _size(one.files) or "-", one.state)
    return view


def encoders_listing(found: Iterable[tuple[str, str, str]]) -> Table:
    """Encoders of ``config/encoders.yaml``: name, title, and whether their weights are here."""
    view = Table(title="Encoders of config/encoders.yaml", title_justify="left")
    for column in ("encoder", "title", "state"):
        view.add_column(column)
    for row in found:
        view.add_row(*row)
    return view


def origins(found: Iterable[Availability]) -> list[str]:
    """Lines below ``listing``: where data sets are from, and under which terms."""
    names: dict[str, list[str]] = {}
    for one in found:
        if one.homepage:
            names.setdefault(_origin(one), []).append(one.name)
    return [f"{', '.join(of)}: {origin}" for origin, of in names.items()]


def missing(found: Iterable[Availability]) -> list[str]:
    """Lines for ``sslpairs plan`` about data sets of unknown content: what is done, downloaded or obtained by hand before a training."""
    found = list(found)
    if not found:
        return []
    # Several data sets may share a file.
    files = {path: size for one in found if one.state == DOWNLOAD for path, size in one.files.items()}
    total = f" {_size(files)}" if any(files.values()) else ""
    first = ", once what must be obtained by hand is here" * any(one.state == BY_HAND for one in found)
    what, them = ("1 data set is", "it") if len(found) == 1 else (f"{len(found)} data sets are", "them")
    lines = [
        f"{what} not prepared yet, so run ids are provisional; `sslpairs fetch` (or `make tables`) "
        f"{f'downloads{total} and ' if files else ''}prepares {them}{first}:"
    ]
    for one in found:
        size = f" ({_size(one.files)})" if one.files else ""
        origin = f", {_origin(one)}" if one.homepage else ""
        lines.append(f"  {one.name}: {one.state}{size}{origin}")
    return lines


def _origin(one: Availability) -> str:
    return f"{one.homepage} ({one.terms})" if one.terms else one.homepage


def _size(files: Mapping[Path, int | None]) -> str:
    known = [size for size in files.values() if size]
    if not known:
        return "size not on record" if files else ""
    return in_bytes(sum(known)) + (" and more" if len(known) < len(files) else "")
