"""All numbers in one tidy table: one row per run x protocol x metric x seed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from sslpairs.config.backbones import Backbone
from sslpairs.config.labels import parse_label
from sslpairs.config.protocols import PROTOCOLS
from sslpairs.files import write_atomic
from sslpairs.plan.baselines import TITLES
from sslpairs.plan.build import Build
from sslpairs.plan.paths import RESULTS
from sslpairs.plan.records import baseline_replicates, replicates

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("scale", "run", "method", "base", "strategies", "dataset", "evaluated_on", "backbone", "batch_size", "epochs"),
    *("augmentation", "seed", "protocol", "metric", "value", "best", "evaluation"),
)
"""``value`` and ``best`` are in percent for accuracies; ``best`` is that of the best epoch, chosen on test images, for protocols with
epochs. ``strategies`` are joined by +. Baselines are rows, too, with their kind as base method and without epochs."""


def rows(build: Build) -> Iterator[dict[str, Any]]:
    """Results measured so far for the chosen tables; keys are ``COLUMNS``."""
    plan = build.plan
    for name in dict.fromkeys(one["evaluation"] for table in plan.selected for one in replicates(plan.tables[table])):
        entry = plan.evaluations[name]
        run, receipt = plan.runs[entry["run"]], build.receipts.get(entry["run"])
        label = parse_label(run["label"])
        for protocol in entry["protocols"]:
            source = build.source(name, protocol)
            if source not in build.evaluated or receipt is None:
                continue
            found = build.evaluation(source).protocols[protocol]
            for metric in filter(found.__contains__, PROTOCOLS[protocol].metrics):
                values = (
                    *(plan.scale["name"], entry["run"], label.title, label.base, "+".join(label.strategies)),
                    *(run["dataset"], entry.get("dataset", run["dataset"]), run["backbone"]),
                    *(run["spec"]["batch_size"], run["spec"]["epochs"], run["augmentation"], run["seed"]),
                    *(protocol, metric, found[metric], found.get(f"best_{metric}"), source.rpartition("/")[2]),
                )
                yield dict(zip(COLUMNS, values, strict=True))
    for name in dict.fromkeys(
        r["evaluation"] for table in plan.selected for r in baseline_replicates(plan.tables[table])
    ):
        if name in build.evaluated:
            yield from _of_baseline(build, name)


def _of_baseline(build: Build, name: str) -> Iterator[dict[str, Any]]:
    entry = build.plan.baselines[name]
    spec, run = entry["spec"], name.partition("/")[0]
    network = TypeAdapter(Backbone).validate_python(spec["backbone"]).label if "backbone" in spec else None
    facts = {"scale": build.plan.scale["name"], "run": run, "method": TITLES[spec["kind"]], "base": spec["kind"]}
    facts |= {"strategies": "", "dataset": entry["dataset"], "evaluated_on": entry["dataset"], "backbone": network}
    facts |= {"epochs": 0, "seed": spec["seed"], "evaluation": name.rpartition("/")[2]}
    for protocol, scores in build.evaluation(name).protocols.items():
        for metric in filter(scores.__contains__, PROTOCOLS[protocol].metrics):
            numbers = {"value": scores[metric], "best": scores.get(f"best_{metric}")}
            yield dict.fromkeys(COLUMNS) | facts | {"protocol": protocol, "metric": metric} | numbers


def write_results(build: Build) -> None:
    """Write ``results/results.csv``."""
    write_atomic(build.root / RESULTS, frame(build).to_csv(index=False, lineterminator="\n"))


def frame(build: Build) -> "pd.DataFrame":
    """All rows."""
    import pandas as pd

    found = pd.DataFrame(list(rows(build)), columns=list(COLUMNS))
    return found.astype({"batch_size": "Int64"})  # baselines have none
