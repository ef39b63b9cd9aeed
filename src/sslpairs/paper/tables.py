"""A table plan and its evaluation files -> the table, its claims, and their texts for people and for programs."""

import csv
import html
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslpairs import files
from sslpairs.errors import UserError
from sslpairs.files import write_atomic
from sslpairs.paper.statistics import Contrast, Summary, contrast, reason, summarise, verdict
from sslpairs.plan.machines import mixture

METRICS = {"linear": "linear", "online": "online", "knn": "kNN"}
PROTOCOLS = {
    "linear": "linear layer trained on frozen features after the training",
    "online": "linear layer trained beside the backbone on detached features",
    "knn": "weighted vote of the nearest training images on frozen features",
}
# Columns of numbers that fit beside the method's name in 100 characters, and in the text width of a paper.
WIDTH = 4


@dataclass(frozen=True)
class Cell:
    """One method in one setting by one protocol; top-1 accuracies in percent."""

    last: Summary
    """Of the last epoch, over seeds."""
    best: float | None
    """Mean over seeds of each run's best epoch; None where the protocol has no epochs."""
    values: dict[int, float]
    """Last epoch by seed."""
    runs: list[str]


@dataclass(frozen=True)
class Claim:
    """A published claim and what the seeds say of it."""

    plan: dict[str, Any]
    contrast: Contrast
    verdict: str
    reason: str


@dataclass(frozen=True)
class Table:
    """A table plan with its numbers."""

    plan: dict[str, Any]
    cells: dict[tuple[str, str, str], Cell]
    """By (row id, column id, metric); combinations that were not planned are absent."""
    claims: list[Claim]
    machines: str | None = None
    """By what the machines of its runs differ, where they do."""

    def published(self, row: str, column: str, metric: str) -> list[dict[str, Any]]:
        """The values on record for a cell, at whatever setting."""
        key = (row, column, metric)
        return [entry for entry in self.plan["published"] if (entry["row"], entry["column"], entry["metric"]) == key]


def read_record(path: Path, root: Path) -> dict[str, Any]:
    """A receipt or evaluation below ``root``. Raises ``UserError`` if it is missing or damaged."""
    record = files.read_record(path, root)
    if record is None:
        raise UserError(
            f"{path.relative_to(root)} is missing: `make tables` makes it; where it was published, `git pull` brings it"
        )
    return record


def build_table(plan: dict[str, Any], root: Path) -> Table:
    """Read the evaluations that ``plan`` names below ``root/results/evals`` and test the plan's claims.

    Raises ``UserError`` for an evaluation that is missing, damaged, or without one of the table's protocols.
    """
    claimed = [claim["metric"] for claim in plan["claims"]]
    cells = {}
    for planned in plan["cells"]:
        paths = [root / "results" / "evals" / f"{one['evaluation']}.json" for one in planned["replicates"]]
        evaluations = [read_record(path, root) for path in paths]
        for metric in dict.fromkeys([*plan["metrics"], *claimed]):
            scores = [_score(one, metric, path) for one, path in zip(evaluations, paths, strict=True)]
            best = [score["best"] for score in scores if score.get("best") is not None]
            values = {one["seed"]: score["last"] for one, score in zip(planned["replicates"], scores, strict=True)}
            cells[planned["row"], planned["column"], metric] = Cell(
                last=summarise(values.values()),
                best=summarise(best).mean if len(best) == len(scores) else None,
                values=values,
                runs=[one["run"] for one in planned["replicates"]],
            )
    runs = dict.fromkeys(one["run"] for planned in plan["cells"] for one in planned["replicates"])
    receipts = [files.read_record(root / "results" / "runs" / run / "run.json", root) for run in runs]
    machines = mixture(filter(None, receipts))
    return Table(plan, cells, [_test(claim, cells) for claim in plan["claims"]], machines)


def _score(evaluation: dict[str, Any], metric: str, path: Path) -> dict[str, Any]:
    score = evaluation.get("protocols", {}).get(metric, {})
    last = score.get("last")
    if not isinstance(last, int | float) or not math.isfinite(last):
        raise UserError(
            f"{path.name} of run {path.parent.name} has no '{metric}' accuracy of the last epoch (found {last!r}): "
            "delete the file and run `make tables` again"
        )
    return score


def _test(claim: dict[str, Any], cells: dict[tuple[str, str, str], Cell]) -> Claim:
    values = {(row, column): cell.values for (row, column, metric), cell in cells.items() if metric == claim["metric"]}
    try:
        found = contrast(claim["terms"], values)
    except UserError as error:
        raise UserError(f"claim '{claim['id']}': {error}") from None
    return Claim(claim, found, verdict(found), reason(found))


# --- words that all the formats share ------------------------------------------------------------------------------


def published_text(entries: list[dict[str, Any]]) -> str:
    """The comparable values with their settings, else 'other scale', else 'not on record'."""
    comparable = [f"{entry['value']:g} ({entry['setting']})" for entry in entries if entry["comparable"]]
    return "; ".join(comparable) or ("other scale" if entries else "not on record")


def claim_published(claim: Claim) -> str:
    """The published effect in points; says so where its setting is not the one that was run."""
    entry = claim.plan["published"]
    if entry is None:
        return "not on record"
    return signed(entry["value"]) + ("" if entry["comparable"] else " (other scale)")


def signed(value: float) -> str:
    """Two decimals with a sign; a typographic minus."""
    return f"{value:+.2f}".replace("-", "−")


def effect_text(found: Contrast) -> str:
    """Effect in points and its interval, for example '+3.40 [+2.81, +3.99]'."""
    if found.effect is None:
        return "none"
    interval = "" if found.low is None else f" [{signed(found.low)}, {signed(found.high)}]"
    return signed(found.effect) + interval


def verdict_text(claim: Claim) -> str:
    """The verdict, with its reason where the interval beside it does not tell."""
    plain = claim.contrast.n >= 2 and claim.contrast.sd != 0
    return claim.verdict if plain else f"{claim.verdict} ({claim.reason})"


def mean_text(summary: Summary) -> str:
    """Mean and standard deviation with one decimal, for example '96.4 ± 0.3'."""
    return f"{summary.mean:.1f}" if summary.sd is None else f"{summary.mean:.1f} ± {summary.sd:.1f}"


def seeds_text(table: Table) -> str:
    """How many seeds stand behind the table's numbers."""
    counts = sorted({cell.last.n for cell in table.cells.values()})
    if not counts or counts == [1]:
        return "one seed"
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def subtitle(plan: dict[str, Any]) -> str:
    """Paper and scale."""
    source = f" (arXiv {plan['arxiv']})" if plan["arxiv"] else ""
    return f"{plan['paper_title']}{source}. Scale: {plan['scale_title']}"


def notes(table: Table) -> list[str]:
    """What a reader must know beside the numbers: one sentence or two each, plain text."""
    plan = table.plan
    cells = table.cells.values()
    numbers = "Top-1 accuracy in % at the last epoch: "
    numbers += "one seed, so no spread" if seeds_text(table) == "one seed" else f"mean ± sd of {seeds_text(table)}"
    if any(cell.best is not None for cell in cells):
        numbers += "; in brackets the mean of each run's best epoch, which is chosen on test data: optimistic"
    lines = [f"{numbers}. Bold: the best of a base method."]
    lines.append(
        "Protocols: " + "; ".join(f"{METRICS[metric]}: {PROTOCOLS[metric]}" for metric in plan["metrics"]) + "."
    )
    for column in plan["columns"]:
        papers = "; ".join(dict.fromkeys(column["stands_for"]))
        label = f"{column['label']}: " if len(plan["columns"]) > 1 else ""
        lines.append(f"{label}{_setting(column)}.{f' Stands for {papers}.' if papers else ''}")
    lines.append(_record(table))
    if plan["axes"] == "ours":
        lines.append("Rows and columns are ours: no source at hand confirms them as the paper's.")
    if table.claims:
        rule = "A claim holds if the 95 % Student-t interval of the effect over paired seeds lies above 0"
        lines.append(f"{rule}; intervals are not corrected for the number of claims.")
    if table.machines:
        lines.append(f"{table.machines[0].upper()}{table.machines[1:]}.")
    if plan["note"]:
        lines.append(plan["note"])
    return lines


def _setting(column: dict[str, Any]) -> str:
    """Data set and settings in words; a changed hyper-parameter as 'mixco.temperature 0.1'."""
    words = {"backbone": "{}", "batch_size": "batch {}", "epochs": "{} epochs", "augmentation": "{} augmentation"}
    known = {key: value for key, value in column["settings"].items() if key != "dataset" and value is not None}
    return ", ".join([column["dataset"], *(words.get(key, f"{key} {{}}").format(known[key]) for key in known)])


def _record(table: Table) -> str:
    entries = table.plan["published"]
    if not entries:
        return "Published values: not on record for any cell."
    labels = {one["id"]: one["label"] for one in (*table.plan["rows"], *table.plan["columns"])}
    texts = []
    for entry in entries:
        where = entry["setting"] if entry["comparable"] else f"other scale: {entry['setting']}"
        cell = f"{labels[entry['row']]}, {labels[entry['column']]}, {METRICS[entry['metric']]}"
        texts.append(f"{cell}: {entry['value']:g} ({where}; {entry['source']})")
    return "Published: " + "; ".join(texts) + "."


# --- layout: one or several blocks, each narrow enough to read ------------------------------------------------------


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
    """One block with the metrics side by side for a single column, else a block per metric; wide ones are cut."""
    columns, metrics = table.plan["columns"], table.plan["metrics"]
    single = len(columns) == 1
    if single:
        stacks = {f"{columns[0]['label']}, top-1 accuracy (%)": [(columns[0], metric) for metric in metrics]}
    else:
        stacks = {f"{METRICS[metric]} top-1 accuracy (%)": [(one, metric) for one in columns] for metric in metrics}
    return [_block(table, title, items, single) for title, stack in stacks.items() for items in _cut(table, stack)]


def _cut(table: Table, items: list[tuple[dict, str]]) -> list[list[tuple[dict, str]]]:
    """Cut into pieces of about equal width; an item with published values takes two columns."""
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
        headers.append(METRICS[metric] if by_metric else column["label"])
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
    rows = table.plan["rows"]
    cells = [table.cells.get((row["id"], column, metric)) for row in rows]
    rivals: dict[str, list[float]] = {}
    for row, cell in zip(rows, cells, strict=True):
        if cell:
            # Compared as printed: of two numbers that look alike, neither is in bold alone.
            rivals.setdefault(row["base"], []).append(round(cell.last.mean, 1))
    entries = []
    for row, cell in zip(rows, cells, strict=True):
        if not cell:
            entries.append(Entry("not run"))
            continue
        bold = len(rivals[row["base"]]) > 1 and round(cell.last.mean, 1) == max(rivals[row["base"]])
        entries.append(Entry(mean_text(cell.last), "" if cell.best is None else f"{cell.best:.1f}", bold))
    return entries


CLAIM_HEADERS = ["claim", "setting", "effect in points [95 % interval]", "n", "published", "verdict"]


def _claim_rows(table: Table) -> list[list[str]]:
    return [
        [
            claim.plan["text"],
            ", ".join(filter(None, [claim.plan["setting"], METRICS[claim.plan["metric"]]])),
            effect_text(claim.contrast),
            str(claim.contrast.n),
            claim_published(claim),
            verdict_text(claim),
        ]
        for claim in table.claims
    ]


# --- CSV ------------------------------------------------------------------------------------------------------------


VALUE_COLUMNS = (
    "paper table scale row column dataset backbone batch_size epochs augmentation metric "
    "last_mean last_sd n best_mean values published published_source runs"
)
CLAIM_COLUMNS = (
    "paper table scale claim text setting metric effect low high n sd standardised verdict reason "
    "published published_unit published_setting published_source published_comparable source"
)


def _csv(header: str, lines: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, header.split(), lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({key: round(value, 4) if isinstance(value, float) else value for key, value in line.items()})
    return text.getvalue()


def to_csv(table: Table) -> str:
    """One line per method, column and metric; ``values`` holds 'seed:accuracy' and ``runs`` run ids, joined by ';'."""
    plan = table.plan
    lines = []
    for (row, column, metric), cell in table.cells.items():
        if metric not in plan["metrics"]:
            continue
        place = next(one for one in plan["columns"] if one["id"] == column)
        found = table.published(row, column, metric)
        settings = {key: place["settings"].get(key) for key in ("backbone", "batch_size", "epochs", "augmentation")}
        lines.append(
            {key: plan[key] for key in ("paper", "scale")}
            | {"table": plan["id"], "row": row, "column": place["label"], "dataset": place["dataset"]}
            | settings
            | {"metric": metric, "n": cell.last.n}
            | {"last_mean": cell.last.mean, "last_sd": cell.last.sd, "best_mean": cell.best}
            | {"values": ";".join(f"{seed}:{round(value, 4)}" for seed, value in cell.values.items())}
            | {"published": published_text(found), "published_source": "; ".join(one["source"] for one in found)}
            | {"runs": ";".join(cell.runs)}
        )
    return _csv(VALUE_COLUMNS, lines)


def claims_csv(table: Table) -> str:
    """One line per claim; ``effect``, ``low``, ``high`` and ``sd`` in points, ``standardised`` = effect / sd."""
    plan = table.plan
    lines = []
    for claim in table.claims:
        record = claim.plan["published"] or {}
        keys = {"published": "value"} | {f"published_{key}": key for key in ("unit", "setting", "source", "comparable")}
        lines.append(
            {"paper": plan["paper"], "table": plan["id"], "scale": plan["scale"], "claim": claim.plan["id"]}
            | {key: claim.plan[key] for key in ("text", "setting", "metric", "source")}
            | {key: getattr(claim.contrast, key) for key in ("effect", "low", "high", "n", "sd", "standardised")}
            | {"verdict": claim.verdict, "reason": claim.reason}
            | {name: record.get(key) for name, key in keys.items()}
        )
    return _csv(CLAIM_COLUMNS, lines)


# --- Markdown -------------------------------------------------------------------------------------------------------


def _md(text: str) -> str:
    for character in "\\`*_|":
        text = text.replace(character, f"\\{character}")
    return text.replace("<", "&lt;").replace("\n", " ")


def _md_table(headers: list[str], rows: list[list[str]], align: str) -> str:
    rule = {"l": "---", "r": "---:"}
    lines = [headers, [rule[letter] for letter in align], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_markdown(table: Table) -> str:
    """The table, its notes and its claims as GitHub-flavoured Markdown."""
    plan = table.plan
    parts = [f"## {_md(plan['title'])}", _md(subtitle(plan))]
    for block in layout(table):
        rows = []
        for line in block.rows:
            texts = [f"**{_md(entry.text)}**" if entry.bold else _md(entry.text) for entry in line]
            rows.append(
                [text + (f" ({entry.best})" if entry.best else "") for text, entry in zip(texts, line, strict=True)]
            )
        headers = [_md(header) for header in block.headers]
        parts += [f"**{_md(block.title)}**", _md_table(headers, rows, "l" + "r" * (len(headers) - 1))]
    parts.append("\n".join(f"- {_md(note)}" for note in notes(table)))
    if table.claims:
        rows = [[_md(text) for text in row] for row in _claim_rows(table)]
        parts += ["**Claims**", _md_table(CLAIM_HEADERS, rows, "lllrll")]
        parts.append("\n".join(f"- {_md(line)}" for line in _claim_notes(table)))
    return "\n\n".join(parts) + "\n"


def _claim_notes(table: Table) -> list[str]:
    """Where each claim was made, claims of one source together, and the settings of the published effects."""
    sources: dict[str, dict[str, None]] = {}
    for claim in table.claims:
        sources.setdefault(claim.plan["source"], {})[claim.plan["text"]] = None
    if len(sources) == 1:
        lines = [f"Source of the claims: {next(iter(sources))}."]
    else:
        lines = [f"Source of {', '.join(map(repr, texts))}: {source}." for source, texts in sources.items()]
    published = [claim.plan["published"] for claim in table.claims if claim.plan["published"]]
    effects = [f"{signed(one['value'])} {one['unit']}: {one['setting']}; {one['source']}" for one in published]
    return lines + [f"Published effect {effect}." for effect in dict.fromkeys(effects)]


# --- LaTeX ----------------------------------------------------------------------------------------------------------

_TEX = {character: f"\\{character}" for character in "&%$#_{}"}
_TEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "[": "{[}",
    "\n": " ",
}


def tex(text: str) -> str:
    """Text for LaTeX: special characters escaped."""
    return text.translate(str.maketrans(_TEX))


def to_latex(table: Table) -> str:
    r"""The table and its claims as two floats for ``\input``; the document needs ``\usepackage{booktabs}`` alone."""
    plan = table.plan
    blocks = layout(table)
    width = max(len(block.headers) for block in blocks)
    body = []
    for block in blocks:
        filler = " &" * (width - len(block.headers))
        body.append(rf"\multicolumn{{{width}}}{{@{{}}l}}{{\textit{{{tex(block.title)}}}}} \\")
        body += [" & ".join(tex(header) for header in block.headers) + filler + r" \\", r"\midrule"]
        for line, end in zip(block.rows, block.ends, strict=True):
            texts = []
            for entry in line:
                text = rf"\textbf{{{tex(entry.text)}}}" if entry.bold else tex(entry.text)
                texts.append(text + (rf" {{\scriptsize ({entry.best})}}" if entry.best else ""))
            body += [" & ".join(texts) + filler + r" \\", *([r"\addlinespace"] if end else [])]
        body.append(r"\midrule")
    caption = tex(f"{plan['title']}. {subtitle(plan)}.")
    under = "\n".join(tex(note) for note in notes(table))
    text = _float(f"tab:{plan['id']}", caption, "l" + "r" * (width - 1), body[:-1], under)
    if not table.claims:
        return text
    lines = [CLAIM_HEADERS, *_claim_rows(table)]
    body = [" & ".join(rf"{{\raggedright {tex(cell)}\par}}" for cell in line) + r" \\" for line in lines]
    body.insert(1, r"\midrule")
    spec = "".join(rf"p{{{share}\linewidth}}" for share in (0.24, 0.13, 0.17, 0.03, 0.17, 0.12))
    caption = rf"Claims tested on Table~\ref{{tab:{plan['id']}}}."
    under = "\n".join(tex(line) for line in _claim_notes(table))
    return text + "\n" + _float(f"tab:{plan['id']}-claims", caption, spec, body, under)


def _float(label: str, caption: str, spec: str, body: list[str], under: str) -> str:
    lines = "\n".join(body)
    return rf"""\begin{{table}}[t]
\centering
\small
\setlength{{\tabcolsep}}{{4pt}}
\caption{{{caption}}}
\label{{{label}}}
\begin{{tabular}}{{@{{}}{spec}@{{}}}}
\toprule
{lines}
\bottomrule
\end{{tabular}}

\smallskip
\parbox{{\linewidth}}{{\footnotesize
{under}
}}
\end{{table}}
"""


# --- HTML -----------------------------------------------------------------------------------------------------------

_CSS = """
body { margin: 1.5rem auto; max-width: 62rem; padding: 0 1rem; background: #fff; color: #1c1c1c;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
h1 { font-size: 1.35rem; margin: 0 0 .2rem; } h2 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
p.sub, ul.notes, .dim { color: #555; } ul.notes { font-size: .87rem; padding-left: 1.1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .3rem 0 1rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .28rem .8rem .28rem 0; text-align: left; vertical-align: top; }
th { font-weight: 600; border-bottom: 1px solid #888; } thead tr { border-top: 2px solid #222; }
tbody tr:last-child { border-bottom: 2px solid #222; } tr.end td { border-bottom: 1px solid #ddd; }
td.num, th.num { text-align: right; white-space: nowrap; }
.best { color: #666; font-size: .85em; }
.holds { color: #00693e; font-weight: 600; } .contradicted { color: #a3190b; font-weight: 600; }
.notshown { color: #7a5200; font-weight: 600; }
code { font-family: ui-monospace, SFMono-Regular, Consolas, monospace; font-size: .86em; }
details { margin: .2rem 0; } summary { cursor: pointer; } details details { margin-left: 1rem; }
details:target > summary { background: #fff3c4; } pre { overflow-x: auto; background: #f6f6f6; padding: .6rem; }
""".strip()


def html_page(title: str, body: str) -> str:
    """A whole HTML page without outside files; ``title`` is plain text, ``body`` is HTML."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{_CSS}\n</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def html_table(headers: list[str], rows: list[str], caption: str = "", numbers: range = range(0)) -> str:
    """A table; ``headers`` and ``caption`` are plain text, ``rows`` are HTML; ``numbers``: columns set to the right."""
    cells = "".join(
        f'<th{" class=num" if index in numbers else ""} scope="col">{html.escape(header)}</th>'
        for index, header in enumerate(headers)
    )
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    body = "\n".join(rows)
    return (
        f'<div class="scroll"><table>{title}\n<thead><tr>{cells}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


def to_html(table: Table) -> str:
    """The table, its notes and its claims as a page of its own."""
    plan, esc = table.plan, html.escape
    parts = [f"<h1>{esc(plan['title'])}</h1>", f'<p class="sub">{esc(subtitle(plan))}</p>']
    for block in layout(table):
        rows = []
        for line, end in zip(block.rows, block.ends, strict=True):
            cells = [f"<td>{esc(line[0].text)}</td>"]
            for entry in line[1:]:
                text = f"<strong>{esc(entry.text)}</strong>" if entry.bold else esc(entry.text)
                best = f' <span class="best">({entry.best})</span>' if entry.best else ""
                cells.append(f'<td class="num">{text}{best}</td>')
            rows.append(f"<tr{' class=end' if end else ''}>{''.join(cells)}</tr>")
        parts.append(html_table(block.headers, rows, block.title, range(1, len(block.headers))))
    parts.append('<ul class="notes">' + "".join(f"<li>{esc(note)}</li>" for note in notes(table)) + "</ul>")
    if table.claims:
        rows = []
        for claim, texts in zip(table.claims, _claim_rows(table), strict=True):
            cells = "".join(f"<td>{esc(text)}</td>" for text in texts[:-1])
            rows.append(f'<tr>{cells}<td class="{claim.verdict.replace(" ", "")}">{esc(texts[-1])}</td></tr>')
        parts += ["<h2>Claims</h2>", html_table(CLAIM_HEADERS, rows)]
        parts.append('<ul class="notes">' + "".join(f"<li>{esc(line)}</li>" for line in _claim_notes(table)) + "</ul>")
    return html_page(plan["title"], "\n".join(parts))


# --- terminal -------------------------------------------------------------------------------------------------------

VERDICT_STYLES = {"holds": "green", "not shown": "yellow", "contradicted": "red"}


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
        for line, end in zip(block.rows, block.ends, strict=True):
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
        for header in CLAIM_HEADERS:
            title = Text(header.replace(" [", "\n["))
            grid.add_column(title, justify="right" if header == "n" else "left", no_wrap=header.startswith("effect"))
        for claim, row in zip(table.claims, _claim_rows(table), strict=True):
            grid.add_row(*map(Text, row[:-1]), Text(row[-1], style=VERDICT_STYLES[claim.verdict]))
        parts += [grid, Text("\n".join(_claim_notes(table)), style="dim")]
    return Group(*parts)


def write_table(table: Table, stem: Path) -> None:
    """Write ``stem`` with .csv, .claims.csv, .md, .tex and .html; each file whole or not at all."""
    write_atomic(f"{stem}.csv", to_csv(table))
    write_atomic(f"{stem}.claims.csv", claims_csv(table))
    write_atomic(f"{stem}.md", to_markdown(table))
    write_atomic(f"{stem}.tex", to_latex(table))
    write_atomic(f"{stem}.html", to_html(table))
