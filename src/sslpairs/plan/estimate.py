"""Estimate training times from the receipts of similar runs."""

from collections.abc import Iterable

from sslpairs.plan.build import Build
from sslpairs.plan.machines import kind_here


def estimate(build: Build, runs: Iterable[str], known: Build | None = None) -> tuple[float, int]:
    """Return the seconds that these runs would take sequentially, and how many of them have no similar run to estimate from.

    Seconds per epoch come from receipts (the build's, or those of the build ``known``) on the same kind of device, of the same
    method, network, data and batch size, else of the same method and data, else of the same data.
    """
    known, kind = known or build, kind_here(build.plan.settings["device"])
    samples: dict[tuple, list[float]] = {}
    for run, receipt in known.receipts.items():
        if not receipt["device"].startswith(kind):
            continue
        seconds = receipt["timing"]["seconds"] / receipt["spec"]["epochs"]
        for key in likeness(known, run):
            samples.setdefault(key, []).append(seconds)
    total, unknown = 0.0, 0
    for run in runs:
        similar = next((samples[key] for key in likeness(build, run) if key in samples), None)
        if similar is None:
            unknown += 1
        else:
            total += build.plan.runs[run]["spec"]["epochs"] * sum(similar) / len(similar)
    return total, unknown


def likeness(build: Build, run: str) -> list[tuple]:
    """Return the keys by which runs of similar duration are matched, the closest match first."""
    entry = build.plan.runs[run]
    data, label = entry["dataset"], entry["label"]
    return [(data, label, entry["backbone"], entry["spec"]["batch_size"]), (data, label), (data,)]
