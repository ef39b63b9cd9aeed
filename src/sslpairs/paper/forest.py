"""The forest plot: every claim's effect with its interval, by paper, with the pooled gains as diamonds below."""

from pathlib import Path
from typing import Any, NamedTuple

from sslpairs.paper.drawing import LINE, TWO_COLUMNS, save, styled
from sslpairs.paper.overview import Overview
from sslpairs.paper.statistics import CONTRADICTED, HOLDS, MARGIN, NO_EFFECT, NOT_ABOVE, UNDECIDED, Tested
from sslpairs.paper.wording import effect_text, heading, pooled_title

COLOURS = {HOLDS: 2, CONTRADICTED: 3, NO_EFFECT: 0, UNDECIDED: 7, NOT_ABOVE: 1}
"""Of seaborn's colour-blind palette."""


class Row(NamedTuple):
    """A line of the plot; one without a test is a heading."""

    text: str
    tested: Tested | None = None
    verdict: str = ""
    pooled: bool = False


def draw_forest(overview: Overview, stem: Path) -> None:
    """Write ``stem`` with .pdf, .png and .svg. Equal results give equal bytes."""
    with styled():
        save(_plot(_rows(overview), overview), stem)


def _rows(overview: Overview) -> list[Row]:
    rows: list[Row] = []
    for paper in dict.fromkeys(table.plan["paper_title"] for table in overview.tables if table.claims):
        rows.append(Row(paper))
        for table in overview.tables:
            if table.plan["paper_title"] != paper:
                continue
            for claim in table.claims:
                where = ", ".join(filter(None, [claim.plan["setting"], heading(claim.plan["metric"], table.plan)]))
                rows.append(Row(f"{claim.plan['text']} ({where})", claim.headline.tested, claim.headline.verdict))
            for owner, group, _, found in overview.pooled:
                if owner is table and group.metric == table.claims[0].plan["metric"]:
                    rows.append(Row(pooled_title(group, table.plan), group.pooled.tested, found, True))
    return rows


def _plot(rows: list[Row], overview: Overview) -> Any:
    import seaborn as sns
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    palette = sns.color_palette("colorblind")
    height = LINE * (1.15 * len(rows) + 7)
    drawing = Figure(figsize=(TWO_COLUMNS, height))
    top, bottom = 1 - 3.6 * LINE / height, 2.6 * LINE / height
    axes = drawing.add_axes((0.585, bottom, 0.22, top - bottom))
    axes.axvspan(-MARGIN, MARGIN, color="0.93", linewidth=0)
    axes.axvline(0, color="0.5", linewidth=0.6)
    beside = axes.get_yaxis_transform()
    for y, row in enumerate(rows):
        heads = row.tested is None
        weight = "bold" if heads or row.pooled else "normal"
        axes.text(-2.6, y, _short(row.text, 92 if heads else 74), transform=beside, va="center", size=7, weight=weight)
        if heads or row.tested.contrast.effect is None:
            continue
        colour, effect = palette[COLOURS[row.verdict]], row.tested.contrast.effect
        low, high = (effect, effect) if row.tested.low is None else (row.tested.low, row.tested.high)
        if row.pooled:
            axes.fill([low, effect, high, effect], [y, y - 0.33, y, y + 0.33], color=colour, linewidth=0, zorder=3)
        else:
            axes.plot([low, high], [y, y], color=colour, linewidth=1.1, zorder=2)
            axes.plot(effect, y, marker="s", markersize=3, color=colour, zorder=3)
        axes.text(1.04, y, effect_text(row.tested), transform=beside, va="center", size=7, weight=weight)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_xlabel("effect (points), 95 % interval")
    axes.margins(x=0.05)
    sns.despine(ax=axes, left=True)
    seen = {row.verdict for row in rows}
    legend = [
        Line2D([], [], color=palette[index], marker="s", markersize=3, label=word)
        for word, index in COLOURS.items()
        if word in seen
    ]
    drawing.text(0.01, 1 - 0.6 * LINE / height, overview.text(), va="top", size=9, weight="bold")
    scale = overview.tables[0].plan["scale_title"]
    note = f"{scale}. Each claim under its paper's metric; diamonds: pooled gains. Grey: within {MARGIN:g} point."
    drawing.text(0.01, 1 - 2 * LINE / height, note, va="top", size=7, color="0.35")
    drawing.legend(
        handles=legend, loc="lower left", bbox_to_anchor=(0.005, 0.3 * LINE / height), ncols=4, frameon=False
    )
    return drawing


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
