"""How long trainings take, by the receipts of like ones."""

from collections.abc import Iterable

from sslpairs.plan.build import Build
from sslpairs.plan.machines import kind_here


def estimate(build: Build, runs: Iterable[str], known: Build | None = None) -> tuple[float, int]:
    """Seconds that these runs would take one after another, and how many of them have no like run to go by.

    Seconds an epoch come from receipts (the build's, or those of another one that is ``known``) on the same kind of device, of
    the same method, network, data and batch size, else of the same method and data, else of the same data.
    """
    runs, kind = list(runs), kind_here(build.plan.settings["device"])
    samples: dict[tuple, list[float]] = {}
    known = known or build
    for run, receipt in known.receipts.items():
        if not receipt["device"].startswith(kind):
            continue
        seconds = receipt["timing"]["seconds"] / receipt["spec"]["epochs"]
        for key in likeness(known, run):
            samples.setdefault(key, []).append(seconds)
    total, unknown = 0.0, 0
    for run in runs:
        like = next((samples[key] for key in likeness(build, run) if key in samples), None)
        if like is None:
            unknown += 1
        else:
            total += build.plan.runs[run]["spec"]["epochs"] * sum(like) / len(like)
    return total, unknown


def likeness(build: Build, run: str) -> list[tuple]:
    """What runs have in common that take about as long: the closest kind of likeness first."""
    entry = build.plan.runs[run]
    data, label = entry["dataset"], entry["label"]
    return [(data, label, entry["backbone"], entry["spec"]["batch_size"]), (data, label), (data,)]
