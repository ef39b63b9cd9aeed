"""Tables as CSV."""

from typing import Any

from sslpairs.paper.tables import Table
from sslpairs.paper.wording import published_text

VALUE_COLUMNS = (
    "paper table scale row column dataset backbone batch_size epochs augmentation metric "
    "last_mean last_sd n best_mean values published published_source runs"
)


CLAIM_COLUMNS = (
    "paper table scale claim text setting metric headline effect low high p p_adjusted p_none n sd se_seeds se_images seeds_needed verdict "
    "published published_unit published_setting published_source published_comparable source"
)


def to_text(header: str, lines: list[dict[str, Any]]) -> str:
    """Return a header and its lines. Decimals have four places, p-values four digits."""
    import pandas as pd

    values = [[_rounded(name, line.get(name)) for name in header.split()] for line in lines]
    return pd.DataFrame(values, columns=header.split(), dtype=object).to_csv(index=False, lineterminator="\n")


def _rounded(name: str, value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if name in ("p", "p_adjusted", "p_none") else round(value, 4)


def to_csv(table: Table) -> str:
    """One line per method, column and metric; ``values`` has 'seed:accuracy' and ``runs`` run ids, joined by ';'."""
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
    return to_text(VALUE_COLUMNS, lines)


def claim_lines(table: Table) -> list[dict[str, Any]]:
    """One for each claim and metric, the one of the paper is the headline.

    ``effect``, ``low``, ``high``, ``sd`` and the parts ``se_seeds`` and ``se_images`` of the standard error are in points; ``se_images``
    is empty where no answers to single images are on record.
    """
    plan, lines = table.plan, []
    for claim in table.claims:
        record = claim.plan["published"] or {}
        keys = {"published": "value"} | {f"published_{key}": key for key in ("unit", "setting", "source", "comparable")}
        for metric, one in claim.judged.items():
            tested = one.tested
            lines.append(
                {"paper": plan["paper"], "table": plan["id"], "scale": plan["scale"], "claim": claim.plan["id"]}
                | {key: claim.plan[key] for key in ("text", "setting", "source")}
                | {"metric": metric, "headline": metric == claim.plan["metric"], "effect": one.contrast.effect}
                | {"low": tested.low, "high": tested.high, "p": tested.p, "p_adjusted": one.p, "p_none": one.p_none}
                | {"n": one.contrast.n, "sd": tested.sd, "se_seeds": tested.se_seeds, "se_images": tested.se_images}
                | {"seeds_needed": one.needed, "verdict": one.verdict}
                | {name: record.get(key) for name, key in keys.items()}
            )
    return lines


def claims_csv(table: Table) -> str:
    """The claims of one table."""
    return to_text(CLAIM_COLUMNS, claim_lines(table))
