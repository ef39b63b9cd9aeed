"""Texts of a table: numbers, verdicts, notes."""

from sslpairs.config.protocols import described
from sslpairs.paper.claims import Claim, Group, Judgement
from sslpairs.paper.statistics import (
    CONTRADICTED,
    HOLDS,
    LEVEL,
    MARGIN,
    MOST_SEEDS,
    NO_EFFECT,
    NOT_ABOVE,
    POWER,
    UNDECIDED,
    Summary,
    Tested,
)
from sslpairs.paper.tables import Table
from sslpairs.plan.records import Measure, PlannedColumn, PlannedTable, PlannedValue

VERDICTS = (HOLDS, CONTRADICTED, NO_EFFECT, UNDECIDED, NOT_ABOVE)


def measure(metric: str, plan: PlannedTable) -> Measure:
    """Return the description of a metric, whether or not the table shows it."""
    return plan["measures"].get(metric) or described(metric)


def shared(plan: PlannedTable) -> str | None:
    """What the metrics of a table measure, where it is the same for all, by several protocols."""
    found = {measure(metric, plan)["what"] for metric in plan["metrics"]}
    return found.pop() if len(found) == 1 else None


def in_full(metric: str, plan: PlannedTable) -> str:
    """As in "linear top-1 accuracy (%)"."""
    found = measure(metric, plan)
    return f"{found['protocol']} {found['what']}"


def heading(metric: str, plan: PlannedTable) -> str:
    """A metric above its numbers: by its protocol alone, where the others measure the same by other protocols."""
    found = measure(metric, plan)
    return found["protocol"] if shared(plan) else f"{found['protocol']} {found['title']}"


def published_text(entries: list[PlannedValue]) -> str:
    """The comparable values with their settings, else 'other scale', else 'not on record'."""
    comparable = [f"{entry['value']:g} ({entry['setting']})" for entry in entries if entry["comparable"]]
    return "; ".join(comparable) or ("other scale" if entries else "not on record")


def claim_published(claim: Claim, table: Table) -> str:
    """The published effect in points, marked if its setting is not the one that was run. One that is on record for several claims, as its
    source names no base method, is only in the notes."""
    entry = claim.plan["published"]
    if entry is None:
        return "not on record"
    if sum(other.plan["published"] == entry for other in table.claims) > 1:
        return "for no single base method"
    return signed(entry["value"]) + ("" if entry["comparable"] else " (other scale)")


def signed(value: float) -> str:
    """Two decimals with a sign; a typographic minus."""
    return f"{value:+.2f}".replace("-", "−")


def effect_text(tested: Tested) -> str:
    """Effect in points and its interval, for example '+3.40 [+2.81, +3.99]'."""
    if tested.contrast.effect is None:
        return "none"
    interval = "" if tested.low is None else f" [{signed(tested.low)}, {signed(tested.high)}]"
    return signed(tested.contrast.effect) + interval


def p_text(p: float | None) -> str:
    """With three decimals."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def verdict_text(one: Judgement) -> str:
    """The verdict; where it is undecided, what is missing."""
    if one.verdict != UNDECIDED:
        return f"{NO_EFFECT} beyond {MARGIN:g} point" if one.verdict == NO_EFFECT else one.verdict
    if one.contrast.n < 2:
        return f"{UNDECIDED} (no shared seed)" if one.contrast.n == 0 else f"{UNDECIDED} (one seed)"
    if not one.tested.sd:
        return f"{UNDECIDED} (no spread)"
    if one.lacks_images:
        return f"{UNDECIDED} (needs more test images)"
    return f"{UNDECIDED} (needs {f'{one.needed:,}' if one.needed else f'over {MOST_SEEDS:,}'} seeds)"


def others_text(claim: Claim, plan: PlannedTable) -> str:
    """What the other metrics of the table say, by verdict."""
    found: dict[str, list[str]] = {}
    for metric in plan["metrics"]:
        if metric != claim.plan["metric"]:
            found.setdefault(claim.judged[metric].verdict, []).append(heading(metric, plan))
    text = "; ".join(f"{verdict}: {', '.join(found[verdict])}" for verdict in VERDICTS if verdict in found)
    return f"protocols disagree; {text}" if claim.disputed else text


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
    whole = shared(plan)
    numbers = f"{whole[0].upper()}{whole[1:]} at the last epoch: " if whole else "At the last epoch: "
    numbers += "one seed, so no spread" if seeds_text(table) == "one seed" else f"mean ± sd of {seeds_text(table)}"
    if any(cell.best is not None for cell in cells):
        numbers += "; in brackets the mean of each run's best epoch, which is chosen on test data: optimistic"
    lines = [f"{numbers}. Bold: a claim of the table shows it to be better than the other arm."]
    protocols = {found["protocol"]: found["about"] for found in (measure(metric, plan) for metric in plan["metrics"])}
    lines.append("Protocols: " + "; ".join(f"{title}: {about}" for title, about in protocols.items()) + ".")
    for column in plan["columns"]:
        papers = "; ".join(dict.fromkeys(column["stands_for"]))
        label = f"{column['label']}: " if len(plan["columns"]) > 1 else ""
        lines.append(f"{label}{_setting(column)}.{f' Stands for {papers}.' if papers else ''}")
    lines.append(_record(table))
    if plan["axes"] == "ours":
        lines.append("Rows and columns are ours: no source at hand confirms them as the paper's.")
    if table.claims:
        lines.append(
            f"Claims: t-tests over paired {_sources(table)}, with spreads over seeds moderated by the table's other claims and p adjusted "
            f"for all claims and metrics of the table (Benjamini-Hochberg). Below {1 - LEVEL:.2f} a claim holds or is contradicted; "
            f"no effect: shown to be within {MARGIN:g} point; else undecided, with the seeds that a power of {100 * POWER:g} % would take."
        )
        if plan["baselines"]["rows"]:
            lines.append(
                "Where a claim would hold, but its base method is not shown to be above the untrained network of the same seeds, its "
                f"verdict is '{NOT_ABOVE}'. Protocols that need a training have no baselines."
            )
        if table.over_seeds_alone:
            lines.append(f"Over seeds alone: no answers per image are on record for {_lacking(table)}.")
        lines += [pooled_text(group, plan) for group in table.groups]
    if table.steps:
        lines.append(f"{table.steps}.")
    if table.machines:
        lines.append(f"{table.machines[0].upper()}{table.machines[1:]}.")
    if plan["note"]:
        lines.append(plan["note"])
    return lines


def _sources(table: Table) -> str:
    """What the table's tests take to be a sample."""
    known = any(one.contrast.images is not None for claim in table.claims for one in claim.judged.values())
    return "seeds and test images" if known else "seeds"


def _lacking(table: Table) -> str:
    """Metrics, and how many of their claims if not all, without answers to single images."""
    return ", ".join(
        heading(metric, table.plan) + ("" if lacking == tested else f" ({lacking} of {tested} claims)")
        for metric, (lacking, tested) in table.over_seeds_alone.items()
    )


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
        cell = f"{labels[entry['row']]}, {labels[entry['column']]}, {heading(entry['metric'], table.plan)}"
        texts.append(f"{cell}: {entry['value']:g} ({where}; {entry['source']})")
    return "Published: " + "; ".join(texts) + "."


def pooled_title(group: Group, plan: PlannedTable) -> str:
    """What is pooled."""
    return f"{group.strategies}, {group.pooled.count} gains pooled, {heading(group.metric, plan)}"


def pooled_text(group: Group, plan: PlannedTable) -> str:
    """A pooled gain in one sentence."""
    found, tested = group.pooled, group.pooled.tested
    among = "" if found.low is None else f"; over other base methods [{signed(found.low)}, {signed(found.high)}]"
    return f"{pooled_title(group, plan)}: {effect_text(tested)} over seeds{among}."


CLAIM_HEADERS = [
    *("claim", "setting", "effect in points [95 % interval]", "adjusted p", "n", "published", "verdict"),
    "under the table's other metrics",
]


def claim_rows(table: Table) -> list[list[str]]:
    """The claims of a table as text, under ``CLAIM_HEADERS``."""
    return [
        [
            claim.plan["text"],
            ", ".join(filter(None, [claim.plan["setting"], heading(claim.plan["metric"], table.plan)])),
            effect_text(claim.headline.tested),
            p_text(claim.headline.p),
            str(claim.headline.contrast.n),
            claim_published(claim, table),
            verdict_text(claim.headline),
            others_text(claim, table.plan),
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
