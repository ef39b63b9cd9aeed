"""Layout of a table: data frames of at most ``WIDTH`` columns, with published values next to the measured ones."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sslpairs.paper.tables import Cell, Table
from sslpairs.paper.wording import heading, in_full, mean_text, published_text, shared
from sslpairs.plan.baselines import PIXELS, TITLES

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 4
"""Columns of numbers that fit next to the method's name in 100 characters, and in the text width of a paper."""


@dataclass(frozen=True)
class Entry:
    """One cell of a block."""

    text: str
    best: str = ""
    bold: bool = False


@dataclass(frozen=True)
class Block:
    """Methods by at most ``WIDTH`` columns."""

    title: str
    headers: list[str]
    entries: "pd.DataFrame"
    """One ``Entry`` per cell, the method's label first; columns are counted, as two may have one header."""
    ends: list[bool]
    """For every row: whether another base method, or the baselines, follow."""

    def texts(self, escape: Callable[[str], str], bold: str, best: str) -> "pd.DataFrame":
        """The cells as text: ``bold`` and ``best`` are formats, as in ``"**{}**"``."""

        def text(entry: Entry) -> str:
            value = bold.format(escape(entry.text)) if entry.bold else escape(entry.text)
            return value + (" " + best.format(entry.best) if entry.best else "")

        return self.entries.map(text)


def layout(table: Table) -> list[Block]:
    """One block with the metrics side by side for a single column, else a block per metric; wide ones are split."""
    columns, metrics = table.plan["columns"], table.plan["metrics"]
    single = len(columns) == 1
    if single:
        title = f"{columns[0]['label']}, {whole}" if (whole := shared(table.plan)) else columns[0]["label"]
        stacks = {title: [(columns[0], metric) for metric in metrics]}
    else:
        stacks = {in_full(metric, table.plan): [(column, metric) for column in columns] for metric in metrics}
    return [_block(table, title, items, single) for title, stack in stacks.items() for items in _cut(table, stack)]


def _cut(table: Table, items: list[tuple[dict, str]]) -> list[list[tuple[dict, str]]]:
    """Split into pieces of about equal width; an item with published values takes two columns."""
    widths = [2 if _on_record(table, column["id"], metric) else 1 for column, metric in items]
    target = math.ceil(sum(widths) / math.ceil(sum(widths) / WIDTH))
    pieces, used = [[]], 0
    for item, width in zip(items, widths, strict=True):
        if pieces[-1] and used + width > target:
            pieces.append([])
            used = 0
        pieces[-1].append(item)
        used += width
    return pieces


def _on_record(table: Table, column: str, metric: str) -> bool:
    return any(entry["column"] == column and entry["metric"] == metric for entry in table.plan["published"])


def _block(table: Table, title: str, items: list[tuple[dict, str]], by_metric: bool) -> Block:
    import pandas as pd

    rows = [*table.plan["rows"], *table.plan["baselines"]["rows"]]
    headers, entries = ["method"], [[Entry(row["label"]) for row in rows]]
    for column, metric in items:
        places = [(row["id"], column["id"], metric) for row in rows]
        headers.append(heading(metric, table.plan) if by_metric else column["label"])
        entries.append(
            [_entry(table.cells.get(place), table.shown_better(*place), place[0] in TITLES) for place in places]
        )
        if _on_record(table, column["id"], metric):
            headers.append("published")
            entries.append([_published(table, place) for place in places])
    bases = [row["base"] for row in rows]
    ends = [
        base != following and following != PIXELS
        for base, following in zip(bases, [*bases[1:], bases[-1]], strict=True)
    ]
    return Block(title, headers, pd.DataFrame(dict(enumerate(entries))), ends)


def _entry(cell: Cell | None, bold: bool, baseline: bool) -> Entry:
    if not cell:  # of a baseline: the protocol needs a training
        return Entry("–" if baseline else "not run")
    return Entry(mean_text(cell.last), "" if cell.best is None else f"{cell.best:.1f}", bold)


def _published(table: Table, place: tuple[str, str, str]) -> Entry:
    records = table.published(*place)
    values = "; ".join(f"{record['value']:g}" for record in records if record["comparable"])
    return Entry(values or ("–" if place[0] in TITLES else published_text(records)))
