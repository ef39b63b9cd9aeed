"""All claims together: ``results/claims.csv``, a forest plot by paper, and the sum of the verdicts."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sslpairs.files import write_atomic
from sslpairs.paper.claims import Claim, Group
from sslpairs.paper.formats.csv import claim_lines, to_text
from sslpairs.paper.results import write_results
from sslpairs.paper.statistics import CONTRADICTED, HOLDS, NO_EFFECT, NOT_ABOVE, UNDECIDED, holm, verdict
from sslpairs.paper.tables import Table, build_table
from sslpairs.plan.build import Build
from sslpairs.plan.paths import CLAIMS, ENDINGS, OWED, product_stem

COLUMNS = (
    "kind paper table scale claim text dataset setting protocol metric headline effect low high low_bases high_bases "
    "p p_adjusted p_none n sd se_seeds se_images seeds_needed verdict"
)
"""Of ``results/claims.csv``: a line a claim and metric, then a line a pooled gain and metric (``kind``). Effects, intervals, ``sd`` (of
one seed's effect) and the parts ``se_seeds`` and ``se_images`` of the standard error are in points, the latter empty where no answers to
single images are on record; ``low_bases`` and ``high_bases`` are the pooled gain's interval for other base methods."""
WORDS = {
    HOLDS: ("holds", "hold"),
    CONTRADICTED: ("is contradicted", "are contradicted"),
    NO_EFFECT: ("shows no effect", "show no effect"),
    UNDECIDED: ("is undecided", "are undecided"),
    NOT_ABOVE: (
        "is about a base method not above its untrained network",
        "are about base methods not above their untrained network",
    ),
}
"""Of one claim, and of several."""


@dataclass(frozen=True)
class Overview:
    """The claims of several tables."""

    tables: list[Table]

    @cached_property
    def pooled(self) -> list[tuple[Table, Group, float | None, str]]:
        """The pooled gains, with p adjusted for all of them (Holm), and their verdict."""
        found = [(table, group) for table in self.tables for group in table.groups]
        tests = [group.pooled.tested for _, group in found]
        ps, nones = holm([one.p for one in tests]), holm([one.p_none for one in tests])
        return [
            (table, group, p, verdict(group.pooled.tested.contrast.effect, p, none))
            for (table, group), p, none in zip(found, ps, nones, strict=True)
        ]

    @property
    def claims(self) -> list[tuple[Table, Claim]]:
        """In the order of the tables."""
        return [(table, claim) for table in self.tables for claim in table.claims]

    def text(self) -> str:
        """The sum of the verdicts, each claim under its paper's metric, in one line."""
        counts = Counter(claim.headline.verdict for _, claim in self.claims)
        parts = [f"{counts[word]} {words[counts[word] > 1]}" for word, words in WORDS.items() if counts[word]]
        total = sum(counts.values())
        return f"{total} claim{'s' * (total != 1)}: {', '.join(parts)}" if parts else ""

    def csv(self) -> str:
        """The text of ``results/claims.csv``."""
        lines = [_line(table, one) for table in self.tables for one in claim_lines(table)]
        for table, group, p, found in self.pooled:
            pooled, tested, plan = group.pooled, group.pooled.tested, table.plan
            lines.append(
                {"kind": "pooled", "paper": plan["paper"], "table": plan["id"], "scale": plan["scale"]}
                | {"claim": f"{plan['id']}-pooled", "text": f"{group.strategies} improves its base methods"}
                | {"dataset": _dataset(table), "setting": f"{pooled.count} gains", "headline": False}
                | dict(zip(("protocol", "metric"), group.metric.split("."), strict=True))
                | {"effect": tested.contrast.effect, "low": tested.low, "high": tested.high, "p": tested.p}
                | {"low_bases": pooled.low, "high_bases": pooled.high, "p_adjusted": p, "p_none": tested.p_none}
                | {"n": tested.contrast.n, "sd": tested.sd, "se_seeds": tested.se_seeds, "se_images": tested.se_images}
                | {"verdict": found}
            )
        return to_text(COLUMNS, lines)


def _line(table: Table, line: dict[str, Any]) -> dict[str, Any]:
    names = dict(zip(("protocol", "metric"), line["metric"].split("."), strict=True))
    return {"kind": "claim", "dataset": _dataset(table)} | {k: line[k] for k in COLUMNS.split() if k in line} | names


def _dataset(table: Table) -> str:
    return "; ".join(dict.fromkeys(column["dataset"] for column in table.plan["columns"]))


def overview_of(build: Build) -> Overview:
    """Of the chosen tables whose evaluations are all there."""
    names = [name for name in build.plan.selected if build.evaluated.issuperset(build.evaluations_of(name))]
    return Overview([build_table(build.plan.tables[name], build.root, build.source) for name in names])


def write_overview(build: Build) -> Overview:
    """Write ``results/claims.csv``, and draw the forest plot where it shows other numbers."""
    found = overview_of(build)
    path, text = build.root / CLAIMS, found.csv()
    stem = build.root / product_stem("figures", build.plan.scale["name"], "claims")
    drawn = all(Path(f"{stem}.{ending}").exists() for ending in ENDINGS["figures"])
    if found.claims and not (drawn and path.exists() and path.read_text(encoding="utf-8") == text):
        from sslpairs.paper.forest import draw_forest

        path.unlink(missing_ok=True)  # it is written last: where it is, the plot beside it is of these claims
        draw_forest(found, stem)
    write_atomic(path, text)
    return found


def write_results_and_overview(build: Build) -> Overview:
    """Write what takes all chosen tables together: ``results/results.csv``, ``results/claims.csv`` and the forest plot."""
    write_results(build)
    overview = write_overview(build)
    (build.root / OWED).unlink(missing_ok=True)
    return overview
