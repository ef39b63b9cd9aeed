"""Tables for a terminal."""

from typing import Any

from sslpairs.paper.layout import layout
from sslpairs.paper.statistics import CONTRADICTED, HOLDS, NO_EFFECT, NOT_ABOVE, UNDECIDED
from sslpairs.paper.tables import Table
from sslpairs.paper.wording import CLAIM_HEADERS, claim_notes, claim_rows, notes, subtitle

VERDICT_STYLES = {
    HOLDS: "green",
    CONTRADICTED: "red",
    NO_EFFECT: "cyan",
    UNDECIDED: "yellow",
    NOT_ABOVE: "magenta",
}


def to_terminal(table: Table) -> Any:
    """The table, its notes and its claims as a ``rich`` renderable, made for 100 columns."""
    from rich import box
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

    plan = table.plan
    parts: list[Any] = [Text(plan["title"], style="bold"), Text(subtitle(plan), style="dim")]
    for block in layout(table):
        grid = Grid(box=box.SIMPLE_HEAD, title=Text(block.title, style="italic"), title_justify="left", pad_edge=False)
        for index, header in enumerate(block.headers):
            grid.add_column(Text(header), justify="right" if index else "left", no_wrap=not index)
        for line, end in zip(block.entries.itertuples(index=False), block.ends, strict=True):
            texts = []
            for entry in line:
                best = f" ({entry.best})" if entry.best else ""
                texts.append(Text.assemble((entry.text, "bold" if entry.bold else ""), (best, "dim")))
            grid.add_row(*texts, end_section=end)
        parts += [Text(), grid]
    grid = Grid.grid(padding=(0, 1))
    for note in notes(table):
        grid.add_row("·", Text(note), style="dim")
    parts += [grid, Text()]
    if table.claims:
        grid = Grid(box=box.SIMPLE_HEAD, title=Text("claims", style="italic"), title_justify="left", pad_edge=False)
        shown = [header for header in CLAIM_HEADERS[:-1] if header not in ("n", "published")]
        for header in shown:
            grid.add_column(Text(header.replace(" [", "\n[")), no_wrap=header.startswith(("effect", "adjusted")))
        for claim, row in zip(table.claims, claim_rows(table), strict=True):
            style = VERDICT_STYLES[claim.headline.verdict]
            texts = dict(zip(CLAIM_HEADERS, row, strict=True))
            cells = [Text(texts[header], style=style if header == "verdict" else "") for header in shown]
            cells[0].append(f"\n{texts[CLAIM_HEADERS[-1]]}" if texts[CLAIM_HEADERS[-1]] else "", style="dim")
            grid.add_row(*cells)
        parts += [grid, Text("\n".join(claim_notes(table)), style="dim")]
    return Group(*parts)
