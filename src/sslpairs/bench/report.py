"""The report of a benchmark as a table in the terminal and as a page of Markdown. Never imports torch."""

from typing import Any

from rich.console import Group
from rich.table import Table

COLUMNS = (
    "method", "images/s", "ms a step", "share of bare step", "times lightly's stock", "step / base's", "FLOPs / base's",
    "peak MB",
)  # fmt: skip
EXPLAINED = {
    "images/s": "images that the training loop sees a second; each gives two views",
    "share of bare step": "time of the bare step over that of ours. Bare: the same networks, loss, optimiser, precision and "
    "batch on views that are already there, and nothing else",
    "times lightly's stock": "images a second of ours over those of lightly's documented pipeline for SimCLR (Pillow, "
    "SimCLRTransform, DataLoader with a worker a core), same network, head, loss, optimiser and precision; the start of its "
    "workers is not counted",
    "step / base's": "time of a step of the training loop over that of the base method alone",
    "FLOPs / base's": "the same for floating-point operations of convolutions and matrix products, forwards and backwards, "
    "counted in one step",
    "peak MB": "on the CPU the largest resident size of a process that trains this alone, in brackets what it took beyond "
    "interpreter and libraries; on a GPU what torch allocated",
}


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _spread(value: dict[str, float] | None, digits: int, scale: float = 1) -> str:
    """For example '0.93 (0.91-0.95)': median, least and most over rounds."""
    if not value:
        return ""
    middle, low, high = (_number(value[key] * scale, digits) for key in ("median", "min", "max"))
    return f"{middle} ({low}–{high})"


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the report, as text under ``COLUMNS``."""
    memory = row["peak_memory"]
    return [
        row["title"],
        _number(row["images_per_second"]["median"], 0),
        _spread(row["seconds_per_step"], 1, 1000),
        _spread(row.get("share_of_bare_step"), 2),
        _spread(row.get("ratio_to_lightly_stock"), 2),
        _spread(row.get("over_base"), 2),
        _number(row["flops_over_base"], 2) if "flops_over_base" in row else "",
        f"{_number(memory['peak'], 0)} ({_number(memory['peak'] - memory['before'], 0)})" if memory else "",
    ]


def _title(setting: dict[str, Any]) -> str:
    return (
        f"{setting['size']} px, batch {setting['batch']}, {setting['network']}, {setting['precision']}: medians of "
        f"{setting['repeats']} rounds (least–most)"
    )


def facts(report: dict[str, Any]) -> list[str]:
    """Lines about the machine and the versions."""
    where = report["machine"]
    lines = [
        f"device: {where['device']}",
        f"machine: {where['cpu']}, {where['cores']} cores, {where['memory_gb']:,.0f} GB; {where['threads']} threads for every "
        f"arm, {where['stock_workers']} workers for lightly's DataLoader",
        "versions: " + ", ".join(f"{name} {version}" for name, version in where["versions"].items() if version),
        f"date: {report['date']}, {report['seconds']:,.0f} s",
    ]
    if where["load_before"] is not None:
        lines.append(f"load before: {where['load_before']:.2f} processes that wanted to run (mean of a minute)")
        if where["load_before"] > where["cores"] / 4:
            lines.append("the machine was busy with other work: ratios hold less well than their spread, speeds not at all")
    return lines


def to_terminal(report: dict[str, Any]) -> Group:
    """One table a size, then the facts."""
    parts: list[Any] = []
    for size in report["sizes"]:
        rows = [cells(row) for row in size["rows"]]
        used = [number for number in range(len(COLUMNS)) if any(row[number] for row in rows)]
        table = Table(title=_title(size["setting"]), title_justify="left")
        for number in used:
            table.add_column(COLUMNS[number], justify="right" if number else "left", overflow="fold")
        for row in rows:
            table.add_row(*(row[number] for number in used))
        parts.append(table)
    return Group(*parts, *facts(report))


def to_markdown(report: dict[str, Any]) -> str:
    """``benchmarks/RESULTS.md``."""
    lines = ["# Speed", "", "Written by `sslpairs bench --markdown`; every number was measured in one run.", ""]
    lines += [f"- {line}" for line in facts(report)]
    for size in report["sizes"]:
        lines += ["", f"## {_title(size['setting'])}", "", "| " + " | ".join(COLUMNS) + " |"]
        lines.append("|---|" + "---:|" * (len(COLUMNS) - 1))
        lines += ["| " + " | ".join(cells(row)) + " |" for row in size["rows"]]
    lines += [
        "",
        "## How it is measured",
        "",
        "Everything that is compared is measured in one process, one after the other, in rounds; a ratio is taken within each",
        "round, so that a machine that slows down for a while does not change it, and its median and extremes over the rounds",
        "are shown. One round before them does not count. Images are random, uint8, in memory.",
        "",
    ]
    lines += [f"- **{name}**: {text}." for name, text in EXPLAINED.items()]
    return "\n".join([*lines, ""])
