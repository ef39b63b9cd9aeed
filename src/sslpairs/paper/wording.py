"""Texts of a table: numbers, verdicts, notes."""

from sslpairs.config.protocols import PROTOCOLS, named
from sslpairs.config.protocols.base import Quantity
from sslpairs.paper.statistics import Contrast, Summary
from sslpairs.paper.tables import Claim, Table
from sslpairs.plan.records import PlannedColumn, PlannedTable, PlannedValue


def shared(metrics: list[str]) -> Quantity | None:
    """The quantity measured by metrics of several protocols, if it is the same for all."""
    found = {named(metric).quantity for metric in metrics}
    return found.pop() if len(found) == 1 else None


def in_full(metric: str) -> str:
    """Full name of a metric, such as "linear top-1 accuracy (%)"."""
    return f"{PROTOCOLS[named(metric).protocol].title} {named(metric).quantity.what}"


def heading(metric: str, among: list[str]) -> str:
    """Heading of a metric: only its protocol if the other metrics measure the same quantity by other protocols."""
    return PROTOCOLS[named(metric).protocol].title if shared(among) else named(metric).title


def published_text(entries: list[PlannedValue]) -> str:
    """The comparable values with their settings, else 'other scale', else 'not on record'."""
    comparable = [f"{entry['value']:g} ({entry['setting']})" for entry in entries if entry["comparable"]]
    return "; ".join(comparable) or ("other scale" if entries else "not on record")


def claim_published(claim: Claim) -> str:
    """The published effect in points, marked if its setting is not the one that was run."""
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
    """The verdict, with its reason if the interval next to it does not show it."""
    plain = claim.contrast.n >= 2 and claim.contrast.sd != 0
    return claim.verdict if plain else f"{claim.verdict} ({claim.reason})"


def mean_text(summary: Summary) -> str:
    """Mean and standard deviation with one decimal, for example '96.4 ± 0.3'."""
    return f"{summary.mean:.1f}" if summary.sd is None else f"{summary.mean:.1f} ± {summary.sd:.1f}"


def seeds_text(table: Table) -> str:
    """Number of seeds behind the table's numbers."""
    counts = sorted({cell.last.n for cell in table.cells.values()})
    if not counts or counts == [1]:
        return "one seed"
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def subtitle(plan: PlannedTable) -> str:
    """Paper and scale."""
    source = f" (arXiv {plan['arxiv']})" if plan["arxiv"] else ""
    return f"{plan['paper_title']}{source}. Scale: {plan['scale_title']}"


def notes(table: Table) -> list[str]:
    """What a reader must know about the numbers: one or two sentences each, plain text."""
    plan = table.plan
    cells = table.cells.values()
    whole = shared(plan["metrics"])
    numbers = f"{whole.what[0].upper()}{whole.what[1:]} at the last epoch: " if whole else "At the last epoch: "
    numbers += "one seed, so no spread" if seeds_text(table) == "one seed" else f"mean ± sd of {seeds_text(table)}"
    if any(cell.best is not None for cell in cells):
        numbers += "; in brackets the mean of each run's best epoch, which is chosen on test data: optimistic"
    lines = [f"{numbers}. Bold: the best of a base method."]
    protocols = [PROTOCOLS[name] for name in dict.fromkeys(named(metric).protocol for metric in plan["metrics"])]
    lines.append("Protocols: " + "; ".join(f"{protocol.title}: {protocol.about}" for protocol in protocols) + ".")
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


def _setting(column: PlannedColumn) -> str:
    """Data set and settings as text; a changed hyper-parameter as 'mixco.temperature 0.1'."""
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
        cell = f"{labels[entry['row']]}, {labels[entry['column']]}, {heading(entry['metric'], table.plan['metrics'])}"
        texts.append(f"{cell}: {entry['value']:g} ({where}; {entry['source']})")
    return "Published: " + "; ".join(texts) + "."


CLAIM_HEADERS = ["claim", "setting", "effect in points [95 % interval]", "n", "published", "verdict"]


def claim_rows(table: Table) -> list[list[str]]:
    """The claims of a table as text, under ``CLAIM_HEADERS``."""
    return [
        [
            claim.plan["text"],
            ", ".join(filter(None, [claim.plan["setting"], heading(claim.plan["metric"], table.plan["metrics"])])),
            effect_text(claim.contrast),
            str(claim.contrast.n),
            claim_published(claim),
            verdict_text(claim),
        ]
        for claim in table.claims
    ]


def claim_notes(table: Table) -> list[str]:
    """The source of each claim, with claims of one source together, and the settings of the published effects."""
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
