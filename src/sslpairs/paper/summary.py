"""Short tables for the end of a build: the headline numbers and the verdicts."""

from collections import Counter
from typing import Any

from sslpairs.paper.formats.terminal import VERDICT_STYLES
from sslpairs.paper.statistics import HOLDS
from sslpairs.paper.tables import Table
from sslpairs.paper.wording import effect_text, in_full, mean_text, seeds_text, verdict_text

COLUMNS = 6
"""Columns of numbers side by side in 100 characters."""
CLAIMS = 6
"""With more claims than this, those that hold are only counted."""


def summary(tables: list[Table]) -> Any:
    """For every table its headline metric (mean ± sd of the last epoch) and its verdicts: a ``rich`` renderable.

    Made for 100 columns.
    """
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    parts: list[Any] = []
    for table in tables:
        plan = table.plan
        facts = f"{in_full(plan['metrics'][0], plan)}, {seeds_text(table)}, {plan['scale']}"
        parts += [Text(plan["title"], style="bold"), Text(f"{plan['id']}: {facts}", style="dim")]
        for start in range(0, len(plan["columns"]), COLUMNS):
            parts.append(Padding(_numbers(table, plan["columns"][start : start + COLUMNS]), (0, 0, 0, 2)))
        if table.claims:
            parts.append(Padding(_verdicts(table), (0, 0, 0, 2)))
        parts.append(Text())
    return Group(*parts[:-1])


def _numbers(table: Table, columns: list[dict]) -> Any:
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    grid.add_column("", no_wrap=True)
    for column in columns:
        grid.add_column(Text(column["label"]), justify="right")
    for row in table.plan["rows"]:
        cells = [table.cells.get((row["id"], column["id"], table.plan["metrics"][0])) for column in columns]
        grid.add_row(Text(row["label"]), *(mean_text(cell.last) if cell else "not run" for cell in cells))
    return grid


def _verdicts(table: Table) -> Any:
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid.grid(padding=(0, 2, 0, 0))
    shown = table.claims
    if len(shown) > CLAIMS:
        counts = Counter(claim.headline.verdict for claim in table.claims)
        counted = ", ".join(f"{counts[word]} {word}" for word in VERDICT_STYLES if counts[word])
        grid.add_row(Text(f"{len(table.claims)} claims"), Text(counted))
        shown = [claim for claim in table.claims if claim.headline.verdict != HOLDS]
    for claim in shown:
        grid.add_row(
            Text(verdict_text(claim.headline), style=VERDICT_STYLES[claim.headline.verdict]),
            Text(claim.plan["text"] + (f" ({claim.plan['setting']})" if claim.plan["setting"] else "")),
            Text(effect_text(claim.headline.tested), style="dim", no_wrap=True),
        )
    return grid
