"""All numbers in one tidy table: one row per run x protocol x metric x seed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sslpairs.config.labels import parse_label
from sslpairs.config.protocols import PROTOCOLS
from sslpairs.files import write_atomic
from sslpairs.plan.build import Build
from sslpairs.plan.paths import RESULTS
from sslpairs.plan.records import replicates

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("scale", "run", "method", "base", "strategies", "dataset", "evaluated_on", "backbone", "batch_size", "epochs"),
    *("augmentation", "seed", "protocol", "metric", "value", "best", "evaluation"),
)
"""``value`` and ``best`` are in percent for accuracies; ``best`` is that of the best epoch, chosen on test images, for protocols with
epochs. ``strategies`` are joined by +."""


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


def write_results(build: Build) -> None:
    """Write ``results/results.csv``."""
    write_atomic(build.root / RESULTS, frame(build).to_csv(index=False, lineterminator="\n"))


def frame(build: Build) -> "pd.DataFrame":
    """All rows."""
    import pandas as pd

    return pd.DataFrame(list(rows(build)), columns=list(COLUMNS))
