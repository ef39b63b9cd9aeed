"""Layout of a table: blocks of columns, with published values next to them."""

import math
from dataclasses import dataclass

from sslpairs.paper.tables import Table
from sslpairs.paper.wording import heading, in_full, mean_text, published_text, shared

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
    """Methods by at most ``WIDTH`` columns; the first entry of a row is the method's label."""

    title: str
    headers: list[str]
    rows: list[list[Entry]]
    ends: list[bool]
    """For every row: whether the next row has another base method."""


def layout(table: Table) -> list[Block]:
    """One block with the metrics side by side for a single column, else a block per metric; wide ones are split."""
    columns, metrics = table.plan["columns"], table.plan["metrics"]
    single = len(columns) == 1
    if single:
        title = f"{columns[0]['label']}, {whole}" if (whole := shared(table.plan)) else columns[0]["label"]
        stacks = {title: [(columns[0], metric) for metric in metrics]}
    else:
        stacks = {in_full(metric, table.plan): [(one, metric) for one in columns] for metric in metrics}
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
    rows = table.plan["rows"]
    headers = ["method"]
    entries = [[Entry(row["label"])] for row in rows]
    for column, metric in items:
        headers.append(heading(metric, table.plan) if by_metric else column["label"])
        for line, entry in zip(entries, _entries(table, column["id"], metric), strict=True):
            line.append(entry)
        if _on_record(table, column["id"], metric):
            headers.append("published")
            for line, row in zip(entries, rows, strict=True):
                found = table.published(row["id"], column["id"], metric)
                values = "; ".join(f"{one['value']:g}" for one in found if one["comparable"])
                line.append(Entry(values or published_text(found)))
    bases = [row["base"] for row in rows]
    ends = [base != following for base, following in zip(bases, [*bases[1:], bases[-1]], strict=True)]
    return Block(title, headers, entries, ends)


def _entries(table: Table, column: str, metric: str) -> list[Entry]:
    entries = []
    for row in table.plan["rows"]:
        cell = table.cells.get((row["id"], column, metric))
        if not cell:
            entries.append(Entry("not run"))
            continue
        best = "" if cell.best is None else f"{cell.best:.1f}"
        entries.append(Entry(mean_text(cell.last), best, table.shown_better(row["id"], column, metric)))
    return entries
