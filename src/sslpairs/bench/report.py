"""The report of a benchmark as a table in the terminal and as a page of Markdown. Never imports torch."""

from typing import Any

from rich.box import SIMPLE
from rich.table import Table

COLUMNS = {
    "method": "method",
    "speed": "images/s",
    "time": "ms a step",
    "share": "share of bare step",
    "stock": "times lightly's stock",
    "step": "step / base's",
    "flops": "FLOPs / base's",
    "memory": "peak MB",
}
"""Key of a cell -> its heading."""
EXPLAINED = {
    "speed": "images per second in the training loop; each gives two views",
    "share": "time of the bare step over that of ours. Bare: the same networks, loss, optimiser, precision and "
    "batch on precomputed views, and nothing else",
    "stock": "images per second of ours over those of lightly's documented pipeline for SimCLR (Pillow, "
    "SimCLRTransform, DataLoader with one worker per core), same network, head, loss, optimiser and precision; the start of its "
    "workers is not counted",
    "step": "time of a step of the training loop over that of the base method alone",
    "flops": "the same for floating-point operations of convolutions and matrix products, forward and backward, "
    "counted in one step",
    "memory": "on the CPU the largest resident size of a process that trains this alone, in brackets what it took beyond "
    "interpreter and libraries; on a GPU what torch allocated",
}


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _spread(value: dict[str, float] | None, digits: int, scale: float = 1) -> str:
    """For example '0.93 (0.91–0.95)': median, least and most over rounds."""
    if not value:
        return ""
    middle, low, high = (_number(value[key] * scale, digits) for key in ("median", "min", "max"))
    return f"{middle} ({low}–{high})"


def cells(row: dict[str, Any]) -> dict[str, str]:
    """A row of the report as text, under the keys of ``COLUMNS``; empty where nothing was measured."""
    memory = row["peak_memory"]
    return {
        "method": row["title"],
        "speed": _number(row["images_per_second"]["median"], 0),
        "time": _spread(row["seconds_per_step"], 1, 1000),
        "share": _spread(row.get("share_of_bare_step"), 2),
        "stock": _spread(row.get("ratio_to_lightly_stock"), 2),
        "step": _spread(row.get("over_base"), 2),
        "flops": _number(row["flops_over_base"], 2) if "flops_over_base" in row else "",
        "memory": f"{_number(memory['peak'], 0)} ({_number(memory['peak'] - memory['before'], 0)})" if memory else "",
    }


def _title(size: dict[str, Any]) -> str:
    setting = size["setting"]
    counts = sorted({row["rounds"] for row in size["rows"]})
    rounds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return (
        f"{setting['size']} px, batch {setting['batch']}, {setting['network']}, {setting['precision']}: medians of "
        f"{rounds} round{'' if rounds == '1' else 's'} (least–most)"
    )


def facts(report: dict[str, Any]) -> list[str]:
    """Lines about the machine and the versions."""
    where = report["machine"]
    lines = [
        f"device: {where['device']}",
        f"machine: {where['cpu']}, {where['cores']} cores, {where['memory_gb']:,.0f} GB; threads: {where['threads']} for "
        f"everything that is measured, {where['stock_workers']} workers for lightly's DataLoader",
        "versions: " + ", ".join(f"{name} {version}" for name, version in where["versions"].items() if version),
        f"code: {where['code']}" + (f", commit {commit[:12]}" if (commit := where["git"]["commit"]) else ""),
        f"date: {report['date']}, {report['seconds']:,.0f} s",
    ]
    if where["load_before"] is not None:
        lines.append(f"load before: {where['load_before']:.2f} runnable processes (mean of a minute)")
        if where["load_before"] > where["cores"] / 4:
            lines.append(
                "the machine was busy with other work: ratios are less reliable than their spread suggests, speeds are not reliable"
            )
    return lines + report["notes"]


def to_terminal(report: dict[str, Any]) -> list[Table]:
    """One table per size, 80 columns wide: spreads below their medians."""
    tables = []
    for size in report["sizes"]:
        rows = [cells(row) for row in size["rows"]]
        used = [key for key in COLUMNS if key != "time" and any(row[key] for row in rows)]
        table = Table(title=_title(size), title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
        for key in used:
            table.add_column(COLUMNS[key], justify="left" if key == "method" else "right", overflow="fold")
        for row in rows:
            table.add_row(*(row[key].replace(" (", "\n").rstrip(")") for key in used))
        tables.append(table)
    return tables


def to_markdown(report: dict[str, Any]) -> str:
    """A Markdown page, whose tables are in `benchmarks/RESULTS.md`."""
    lines = ["# Speed", "", "Written by `sslpairs bench --markdown`; every number was measured in one run.", ""]
    lines += [f"- {line}" for line in facts(report)]
    for size in report["sizes"]:
        lines += ["", f"## {_title(size)}", "", "| " + " | ".join(COLUMNS.values()) + " |"]
        lines.append("|---|" + "---:|" * (len(COLUMNS) - 1))
        lines += ["| " + " | ".join(cells(row).values()) + " |" for row in size["rows"]]
    lines += [
        "",
        "## How it is measured",
        "",
        "Everything that is compared is measured in one process, one after the other, in rounds; a ratio is taken within each",
        "round, so a machine that slows down for a while changes it little, and its median and extremes over the rounds are",
        "shown. One warm-up round before them does not count. Images are random, uint8, in memory.",
        "",
    ]
    lines += [f"- **{COLUMNS[key]}**: {text}." for key, text in EXPLAINED.items()]
    return "\n".join([*lines, ""])
