"""Measure arms in rounds, and turn the rounds into ratios."""

import os
import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from sslpairs.bench.arms import Bare, Ours, Stock, cores
from sslpairs.bench.memory import peak_memory
from sslpairs.bench.setting import Setting
from sslpairs.config.methods import parse_label
from sslpairs.errors import UserError
from sslpairs.training.device import describe
from sslpairs.training.provenance import code_and_versions

Rounds = dict[str, list[float]]
"""Arm -> seconds of a step, one value a round."""
Say = Callable[[str], None]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and extremes; ``values`` must not be empty."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """``spread`` of the ratio in each round: what slows a whole round down leaves it as it is."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def measure_rounds(arms: dict[str, Callable[[], float]], repeats: int) -> Rounds:
    """Call every arm once a round, one after the other, after one round that does not count."""
    for arm in arms.values():
        arm()
    rounds: Rounds = {name: [] for name in arms}
    for _ in range(repeats):
        for name, arm in arms.items():
            rounds[name].append(arm())
    return rounds


def count_flops(step: Callable[[], None]) -> int:
    """Floating-point operations of convolutions and matrix products in ``step``, forwards and backwards."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoModules()
    with counter:
        step()
    return counter.get_total_flops()


class _NoModules:
    """In the place of torch's tracker of modules, whose hooks refuse the ``torch.autograd.grad`` of CLAE's attack."""

    parents = ("Global",)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def measure_base(base: str, labels: Sequence[str], setting: Setting) -> list[dict[str, Any]]:
    """Rows of a base method and of ``labels`` under it, measured in the same rounds.

    Speeds are spreads over rounds. Only SimCLR has a stock pipeline beside it. ``over_base`` compares whole steps of
    training, ``flops_over_base`` their convolutions and matrix products.
    """
    ours = {label: Ours(label, setting) for label in [base, *labels]}
    bare = Bare(base, setting)
    arms: dict[str, Callable[[], float]] = {" stock": Stock(setting).seconds} if base == "simclr" else {}
    # The bare step and the base's next to each other.
    arms |= {" bare": bare.seconds} | {label: arm.seconds for label, arm in ours.items()}
    rounds = measure_rounds(arms, setting.repeats)
    flops = {label: count_flops(arm.step) for label, arm in ours.items()}
    del ours, bare, arms
    rows = []
    for label in [base, *labels]:
        row: dict[str, Any] = {
            "label": label,
            "title": parse_label(label).title,
            "seconds_per_step": spread(rounds[label]),
            "images_per_second": spread([setting.batch / seconds for seconds in rounds[label]]),
            "flops_per_step": flops[label],
        }
        if label == base:
            row["share_of_bare_step"] = ratio(rounds[" bare"], rounds[label])
            row["bare_seconds_per_step"] = spread(rounds[" bare"])
            if " stock" in rounds:
                row["ratio_to_lightly_stock"] = ratio(rounds[" stock"], rounds[label])
                row["stock_images_per_second"] = spread([setting.batch / seconds for seconds in rounds[" stock"]])
        else:
            row["over_base"] = ratio(rounds[label], rounds[base])
            row["flops_over_base"] = flops[label] / flops[base]
        row["peak_memory"] = None
        rows.append(row)
    return rows


def bench(settings: Sequence[Setting], labels: Sequence[str], memory: Sequence[str], say: Say) -> dict[str, Any]:
    """The whole report, as JSON values; ``say`` is told of every base method that is begun.

    ``labels`` are put under their base methods, which are measured whether they are named or not; of those in ``memory``
    the peak memory is measured too. Raises ``UserError`` for labels without a meaning and sizes that cannot be trained.
    """
    groups: dict[str, list[str]] = {}
    for label in labels:
        asked = parse_label(label)
        under = groups.setdefault(asked.base, [])
        if asked.strategies and str(asked) not in under:
            under.append(str(asked))
    for setting in settings:
        check(setting)
    load, started = _load(), datetime.now(UTC)
    sizes = []
    for setting in settings:
        rows = []
        for base, under in groups.items():
            say(f"{setting.size} px: {', '.join([base, *under])}")
            rows += measure_base(base, under, setting)
        for row in rows:
            if row["label"] in memory:
                say(f"{setting.size} px: memory of {row['label']}")
                row["peak_memory"] = peak_memory(row["label"], setting)
        sizes.append({"setting": setting.plain(), "rows": rows})
    first = next((row for row in sizes[0]["rows"] if row["label"] == "simclr"), {})
    headline = {
        key: first[key]["median"] if key in first else None for key in ("ratio_to_lightly_stock", "share_of_bare_step")
    }
    return {
        "format": 1,
        **headline,
        "headline": f"SimCLR, {settings[0].size} px, {settings[0].network}, medians of {settings[0].repeats} rounds",
        "date": started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
        "machine": machine(settings[0].device, load),
        "sizes": sizes,
    }


def check(setting: Setting) -> None:
    """Raise ``UserError`` where a setting cannot be measured."""
    for name, least in (("size", 8), ("batch", 4), ("repeats", 1), ("steps", 1), ("stock_steps", 1)):
        if getattr(setting, name) < least:
            raise UserError(f"--{name} {getattr(setting, name)}: must be {least} at least")
    if setting.batch % 2:
        raise UserError(f"--batch {setting.batch}: MixCo mixes the two halves of a batch; write an even number")


def machine(device: str, load: float | None) -> dict[str, Any]:
    """Hardware, code, versions, and how busy the machine was before: processes that wanted to run, mean of a minute."""
    threads = torch.get_num_threads()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "device": describe(torch.device(device), threads),
        "cpu": describe(torch.device("cpu"), threads).partition("(")[2].partition(")")[0],
        "cores": cores(),
        "memory_gb": round(memory, 1),
        "threads": threads,
        "stock_workers": cores(),
        "load_before": load,
        **code_and_versions(Path.cwd()),
    }


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None
