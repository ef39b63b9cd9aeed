"""Figures of a table: a method with and without a strategy, accuracy over batch size, and training curves.

Sizes are print sizes: one text column is 3.4 inches wide, two are 6.9, and no letter is smaller than 7 points.
Colours are seaborn's colour-blind palette, and a marker or line style always has the same meaning.
"""

import csv
import hashlib
import io
import math
import re
import textwrap
from pathlib import Path
from typing import Any

from sslpairs.errors import UserError
from sslpairs.paper.drawing import LINE, ONE_COLUMN, TWO_COLUMNS, save, styled
from sslpairs.paper.statistics import contrast, summarise
from sslpairs.paper.tables import Cell, Source, Table, build_table, itself, receipt_of
from sslpairs.paper.wording import in_full, seeds_text, signed
from sslpairs.plan.baselines import PIXELS, TITLES, UNTRAINED
from sslpairs.plan.paths import metrics_file
from sslpairs.plan.records import PlannedFigure, PlannedTable

MARKERS = ["o", "D", "s", "^", "v", "P", "X", "*"]
TITLE = 15
"""Letters of a panel's title per inch."""
LINES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1))]


def draw(figure: PlannedFigure, table_plan: PlannedTable, root: Path, stem: Path, source: Source = itself) -> None:
    """Draw ``figure`` from the results below ``root`` and write ``stem`` with .pdf, .png (200 dpi) and .svg.

    Equal results give equal bytes. Raises ``UserError`` for missing or damaged results.
    """
    with styled():
        if figure["kind"] == "curves":
            drawing = _curves(figure, table_plan, root)
        else:
            table = build_table({**table_plan, "metrics": [figure["metric"]], "claims": []}, root, source)
            drawing = (_with_without if figure["kind"] == "with-without" else _batch_size)(figure, table)
        save(drawing, stem)


# --- common parts ---------------------------------------------------------------------------------------------------


def _frame(
    figure: dict,
    plan: dict,
    width: float,
    height: float,
    legend: list,
    note: str,
    panels: int,
    per_row: int,
    **options: Any,
) -> tuple[Any, list]:
    """A figure with a header (title, paper, scale, legend) above its axes and a note below them.

    ``width`` and ``height`` are in inches, ``height`` is that of one row of axes; header and note are added to it.
    Returns the figure and ``panels`` axes, at most ``per_row`` side by side.
    """
    from matplotlib.figure import Figure

    letters = int(width * 19)
    title = textwrap.wrap(figure["title"], int(letters * 0.75))
    facts = [plan["paper_title"], plan["scale_title"]]
    joined = " · ".join(facts)
    under = [joined] if len(joined) <= letters else [line for fact in facts for line in textwrap.wrap(fact, letters)]
    note_lines = textwrap.wrap(note, letters)
    across = max(1, int(letters * 0.93 / (max(len(handle.get_label()) for handle in legend) + 7)))
    deep = math.ceil(len(legend) / across)
    header = 0.08 + LINE * (1.25 * len(title) + len(under) + 0.92 * deep) + 0.13
    footer = 0.06 + LINE * len(note_lines)
    across, down = min(panels, per_row), math.ceil(panels / per_row)
    total = height * down + header + footer

    drawing = Figure(figsize=(width, total), layout="constrained")
    drawing.get_layout_engine().set(rect=(0, footer / total, 1, height * down / total), w_pad=0.04, wspace=0.05)
    left, top = 0.06 / width, 1 - 0.08 / total
    drawing.text(left, top, "\n".join(title), va="top", weight="bold", size=9, linespacing=1.25)
    top -= 1.25 * LINE * len(title) / total
    drawing.text(left, top, "\n".join(under), va="top", size=7, color="0.35", linespacing=1.25)
    top -= LINE * (len(under) + 0.25) / total
    drawing.legend(
        handles=legend,
        loc="upper left",
        bbox_to_anchor=(left, top),
        ncols=math.ceil(len(legend) / deep),
        frameon=False,
        fontsize=7.5,
        borderpad=0,
        borderaxespad=0,
        handletextpad=0.4,
        columnspacing=1.4,
        labelspacing=0.3,
        handlelength=2.6 if any(handle.get_linestyle() not in ("", "None") for handle in legend) else 1,
    )
    drawing.text(left, 0.05 / total, "\n".join(note_lines), va="bottom", size=7, color="0.35", linespacing=1.25)
    axes = list(drawing.subplots(down, across, squeeze=False, **options).flat)
    for unused in axes[panels:]:
        unused.remove()
    return drawing, axes[:panels]


def _finish(axes: Any) -> None:
    import seaborn as sns

    sns.despine(ax=axes)
    axes.grid(axis="y", linewidth=0.4, color="0.9")
    axes.set_axisbelow(True)


def _point(axes: Any, x: float, cell: Cell, colour: Any, marker: str, dots: float) -> None:
    """Mean ± sd as a marker with a bar at ``x``, and the seeds as small dots at ``dots``."""
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.5}
    look = {"color": colour, "marker": marker, "markersize": 4.5, "capsize": 2, "elinewidth": 0.9, "zorder": 3}
    axes.errorbar(x, cell.last.mean, cell.last.sd or 0, **look, **edge)
    if cell.last.n > 1:
        values = list(cell.values.values())
        axes.scatter([dots] * len(values), values, s=6, color=colour, alpha=0.7, linewidth=0, zorder=4)


def _palette() -> list:
    import seaborn as sns

    return sns.color_palette("colorblind")


def _spread_note(table: Table) -> str:
    seeds = seeds_text(table)
    return "One seed, so no spread." if seeds == "one seed" else f"Marker and bar: mean ± sd of {seeds}. Dots: seeds."


def _baseline_styles(table: Table, metric: str) -> dict[str, dict[str, Any]]:
    """Baseline -> style of its line; only those that the metric has."""
    looks = {UNTRAINED: {"color": "0.35", "linestyle": ":"}, PIXELS: {"color": "0.6", "linestyle": (0, (1, 4))}}
    return {
        name: {"linewidth": 1.1, **look}
        for name, look in looks.items()
        if any((name, metric) == (row, m) for row, _, m in table.cells)
    }


def _draw_baselines(axes: Any, table: Table, column: str, metric: str) -> None:
    for name, style in _baseline_styles(table, metric).items():
        if cell := table.cells.get((name, column, metric)):
            axes.axhline(cell.last.mean, zorder=0.5, **style)


def _baseline_legend(table: Table, metric: str) -> list:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], label=TITLES[name].lower(), **style) for name, style in _baseline_styles(table, metric).items()
    ]


# --- with-without ---------------------------------------------------------------------------------------------------


def _with_without(figure: dict, table: Table) -> Any:
    """Points, not bars: differences of a point or two would need bars that do not start at 0."""
    from matplotlib.lines import Line2D

    plan, metric, palette = table.plan, figure["metric"], _palette()
    rows = {(row["base"], tuple(row["strategies"])): row["id"] for row in plan["rows"]}
    names = {row["base"]: row["label"].partition(" + ")[0] for row in plan["rows"]}
    series = {tuple(row["strategies"]): row["label"].partition(" + ")[2] for row in plan["rows"]}
    styles = {one: (palette[index % 10], MARKERS[index % 8]) for index, one in enumerate(series)}
    legend = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            linestyle="",
            markersize=5,
            label=f"with {series[one]}" if one else "base method",
        )
        for one, (colour, marker) in styles.items()
    ]
    legend += _baseline_legend(table, metric)
    paired = len(series) == 2
    note = _spread_note(table) + (" Lines join equal seeds. Numbers: mean gain in points." if paired else "")

    panels, count = len(plan["columns"]), len(series)
    width = ONE_COLUMN if panels * len(names) * count <= 8 else TWO_COLUMNS
    most = max(1, int(width / (0.32 * count * len(names))))
    per_row = math.ceil(panels / math.ceil(panels / most))
    same = len({column["dataset"] for column in plan["columns"]}) == 1
    titles = [_wrapped(column["label"], int((width - 0.5) / per_row * TITLE)) for column in plan["columns"]]
    height = 2.0 + LINE * max(title.count("\n") for title in titles)
    drawing, axes = _frame(figure, plan, width, height, legend, note, panels, per_row, sharey=same)
    inch = len(names) / ((width - 0.5) / per_row)  # in units of the x axis, where a base method takes 1
    gap = min(0.85 / count, 0.45 * inch)
    aside = min(0.11 * inch, 0.3 * gap)
    for index, (panel, column) in enumerate(zip(axes, plan["columns"], strict=True)):
        for x, base in enumerate(names):
            cells, dots = [], []
            for number, (strategies, style) in enumerate(styles.items()):
                cell = table.cells.get((rows.get((base, strategies), ""), column["id"], metric))
                if cell:
                    place = x + gap * (number - (count - 1) / 2)
                    # In a pair the dots are on the inside, where thin lines join equal seeds; else to the right of the mean.
                    side = 0 if cell.last.n == 1 else -aside if paired and number else aside
                    cells.append(cell)
                    dots.append(place + side)
                    _point(panel, place, cell, *style, dots[-1])
            if paired and len(cells) == 2:
                _join(panel, x, dots, cells)
        room = (width - 0.5) / per_row / len(names)
        labels = [name.replace(" ", "\n") if len(name) * 0.065 > room else name for name in names.values()]
        panel.set_xticks(range(len(names)), labels)
        panel.set_xlim(-0.5, len(names) - 0.5)
        _draw_baselines(panel, table, column["id"], metric)
        panel.margins(y=0.14)
        panel.set_title(titles[index])
        if index % per_row == 0:
            panel.set_ylabel(in_full(metric, plan))
        _finish(panel)
    return drawing


def _wrapped(title: str, letters: int) -> str:
    """A panel's title in lines of at most ``letters``, broken at spaces and after the dots of a setting's name."""
    lines = [""]
    for piece in re.split(r"(?<= )|(?<=[a-z]\.)(?=[a-z])", title):
        if lines[-1] and len(lines[-1] + piece.rstrip()) > letters:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def _join(axes: Any, x: float, ends: list[float], cells: list[Cell]) -> None:
    """Draw a thin line for each seed from without to with, and the mean gain above."""
    for seed in cells[0].values:
        if seed in cells[1].values:
            axes.plot(ends, [cell.values[seed] for cell in cells], color="0.65", linewidth=0.6, zorder=1)
    terms = [{"row": "without", "column": "", "weight": -1}, {"row": "with", "column": "", "weight": 1}]
    gain = contrast(terms, {("without", ""): cells[0].values, ("with", ""): cells[1].values}).effect
    top = max(max([*cell.values.values(), cell.last.mean + (cell.last.sd or 0)]) for cell in cells)
    if gain is not None:
        axes.annotate(signed(gain), (x, top), (0, 4), textcoords="offset points", ha="center", size=7, color="0.25")


# --- batch-size -----------------------------------------------------------------------------------------------------


def _batch_size(figure: dict, table: Table) -> Any:
    from matplotlib.lines import Line2D

    plan, metric, palette = table.plan, figure["metric"], _palette()
    rows = plan["rows"]
    panels: dict[str, list[dict]] = {}
    networks = {column["settings"]["backbone"] for column in plan["columns"]}
    for column in plan["columns"]:
        title = column["dataset"] if len(networks) == 1 else f"{column['dataset']}, {column['settings']['backbone']}"
        panels.setdefault(title, []).append(column)
    styles = [{"color": palette[index % 10], "marker": MARKERS[index % 8]} for index in range(len(rows))]
    legend = [
        Line2D([], [], label=row["label"], linestyle=LINES[index % 6], markersize=5, markeredgecolor="white", **style)
        for index, (row, style) in enumerate(zip(rows, styles, strict=True))
    ]
    legend += _baseline_legend(table, metric)
    width = ONE_COLUMN if len(panels) == 1 else TWO_COLUMNS
    drawing, axes = _frame(figure, plan, width, 2.1, legend, _spread_note(table), len(panels), 3)
    for number, (panel, (title, columns)) in enumerate(zip(axes, panels.items(), strict=True)):
        sizes = sorted({column["settings"]["batch_size"] for column in columns})
        octaves = math.log2(sizes[-1] / sizes[0]) + 0.8
        step = 0.08 * octaves / ((width - 0.5) / min(len(panels), 3))  # 0.08 inches, in octaves
        for index, (row, style) in enumerate(zip(rows, styles, strict=True)):
            # Methods are slightly offset, so that their bars do not hide one another.
            factor = 2 ** (2 * step * (index - (len(rows) - 1) / 2))
            cells = {column["settings"]["batch_size"]: (row["id"], column["id"], metric) for column in columns}
            points = [(size * factor, table.cells[cells[size]]) for size in sizes if cells[size] in table.cells]
            line = [[x for x, _ in points], [cell.last.mean for _, cell in points]]
            panel.plot(*line, linestyle=LINES[index % 6], color=style["color"])
            for x, cell in points:
                _point(panel, x, cell, style["color"], style["marker"], x * 2**step)
        _draw_baselines(panel, table, columns[0]["id"], metric)
        panel.set_xscale("log", base=2)
        panel.set_xticks(sizes, sizes)
        panel.minorticks_off()
        panel.set_xlim(sizes[0] / 2**0.4, sizes[-1] * 2**0.4)
        panel.set_xlabel("batch size (images)")
        panel.set_title(title)
        if number % 3 == 0:
            panel.set_ylabel(in_full(metric, plan))
        _finish(panel)
    return drawing


# --- curves ---------------------------------------------------------------------------------------------------------


def _curves(figure: dict, plan: dict, root: Path) -> Any:
    from matplotlib.lines import Line2D

    palette, column, rows = _palette(), plan["columns"][0], plan["rows"]
    bases = list(dict.fromkeys(row["base"] for row in rows))
    series = list(dict.fromkeys(tuple(row["strategies"]) for row in rows))
    styles = []
    for index, row in enumerate(rows):
        # Several base methods: the colour shows the base, the line style the strategy. One base: both show the row.
        several = len(bases) > 1
        colour = bases.index(row["base"]) if several else index
        line = series.index(tuple(row["strategies"])) if several else index
        styles.append({"color": palette[colour % 10], "linestyle": LINES[line % 6]})
    legend = [Line2D([], [], label=row["label"], **style) for row, style in zip(rows, styles, strict=True)]
    cells = {cell["row"]: cell["replicates"] for cell in plan["cells"] if cell["column"] == column["id"]}
    seeds = max((len(replicates) for replicates in cells.values()), default=0)
    spread = f"Lines: mean over seeds; bands: lowest to highest of {seeds} seeds." if seeds > 1 else "One seed."
    note = f"Setting: {column['label']}. {spread} Methods minimise different losses."

    drawing, axes = _frame(figure, plan, TWO_COLUMNS, 2.1, legend, note, 2, 2)
    quantities = {"loss": "training loss", "online_top1": in_full("online.top1", plan)}
    for panel, (quantity, title) in zip(axes, quantities.items(), strict=True):
        for row, style in zip(rows, styles, strict=True):
            epochs: dict[int, list[float]] = {}
            for replicate in cells.get(row["id"], []):
                for epoch, value in _curve(root, replicate["run"], quantity):
                    epochs.setdefault(epoch, []).append(value)
            points = sorted(epochs.items())
            xs = [epoch for epoch, _ in points]
            panel.plot(xs, [summarise(values).mean for _, values in points], **style)
            low, high = [min(values) for _, values in points], [max(values) for _, values in points]
            panel.fill_between(xs, low, high, color=style["color"], alpha=0.18, linewidth=0)
        panel.set_xlabel("epoch")
        panel.set_ylabel(title)
        panel.margins(x=0.02)
        _finish(panel)
    return drawing


def _curve(root: Path, run: str, quantity: str) -> list[tuple[int, float]]:
    """(epoch, value) of a run's ``metrics.csv``; epochs without a value of the quantity are left out."""
    name = metrics_file(run)
    receipt = receipt_of(run, root)
    try:
        content = (root / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != receipt["metrics"]["sha256"]:
            raise ValueError("not the metrics that run.json names")
        lines = list(csv.DictReader(io.StringIO(content.decode())))
        return [(int(line["epoch"]), float(line[quantity])) for line in lines if line[quantity]]
    except FileNotFoundError:
        raise UserError(f"{name} is missing: `make tables` creates it, or fetches it if it was published") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{name} is damaged ({error!r}): restore it from git, or delete the run's folder") from None
