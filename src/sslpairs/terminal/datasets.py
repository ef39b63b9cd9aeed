"""Data sets in the terminal: which are here, and where the others come from."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.table import Table

from sslpairs.data.memory import in_bytes
from sslpairs.workflow.fetch import BY_HAND, DOWNLOAD, Availability


def listing(found: Iterable[Availability]) -> Table:
    """``sslpairs fetch --list``."""
    view = Table(title="Data sets of config/datasets.yaml", title_justify="left")
    for column in ("data set", "training", "test", "download", "state", "from", "terms"):
        view.add_column(
            column, justify="right" if column in ("training", "test", "download") else "left", overflow="fold"
        )
    for one in found:
        images = [f"{count:,}" for count in one.images] if one.images else ["-", "-"]
        view.add_row(
            one.name,
            *images,
            _size(one.files) or "-",
            one.state,
            one.homepage or "comes with a library",
            one.terms or "-",
        )
    return view


def missing(found: Iterable[Availability]) -> list[str]:
    """Lines for ``sslpairs plan``: what must be downloaded, or obtained by hand, before anything can be trained."""
    wanted = [one for one in found if one.state in (DOWNLOAD, BY_HAND)]
    if not wanted:
        return []
    automatic = [one for one in wanted if one.state == DOWNLOAD]
    files = {path: size for one in automatic for path, size in one.files.items()}  # several data sets may share a file
    lines = [
        f"{len(wanted)} data set{'s are' if len(wanted) > 1 else ' is'} not here, so run ids are provisional; `sslpairs fetch` (or "
        "`make tables`) downloads "
        f"{len(automatic)} of them{', ' + _size(files) if files else ''}:"
    ]
    for one in wanted:
        size = f" ({_size(one.files)})" if one.files else ""
        terms = f"; {one.terms}" if one.terms else ""
        lines.append(f"  {one.name}: {one.state}{size}, {one.homepage}{terms}")
    return lines


def _size(files: Mapping[Path, int | None]) -> str:
    known = [size for size in files.values() if size]
    if not known:
        return "size not on record" if files else ""
    return in_bytes(sum(known)) + (" and more" if len(known) < len(files) else "")
