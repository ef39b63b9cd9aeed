"""Measure arms in rounds, and turn the rounds into ratios."""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from sslpairs.bench.arms import Bare, Ours, Stock, cores
from sslpairs.bench.memory import peak_memory
from sslpairs.bench.setting import Setting
from sslpairs.config.labels import parse_label
from sslpairs.config.strategies import STRATEGIES
from sslpairs.distributed.device import describe
from sslpairs.errors import UserError
from sslpairs.plan.fingerprint import training_code
from sslpairs.training.provenance import code_and_versions

Rounds = dict[str, list[float]]
"""Arm -> seconds per step, one value per round."""
Say = Callable[[str], None]
ENOUGH = 3
"""Rounds below which a median and extremes say little."""


class Timer:
    """The time limit of a benchmark, and its progress.

    ``until`` is a time of ``time.monotonic``, or None for no limit. ``tick`` is called with the rounds done, those of the whole
    benchmark, and what is being measured.
    """

    def __init__(self, rounds: int, until: float | None, tick: Callable[[int, int, str], None] | None):
        self.rounds, self.until, self.tick, self.done = rounds, until, tick, 0

    def share(self, part: float) -> float | None:
        """The end of a share ``part`` of the time left."""
        if self.until is None:
            return None
        now = time.monotonic()
        return now + max(0.0, self.until - now) * part

    def step(self, text: str, rounds: int = 1) -> None:
        """Count rounds that are done or left out."""
        self.done += rounds
        if self.tick:
            self.tick(self.done, self.rounds, text)

    @property
    def over(self) -> bool:
        """Whether there is no time left."""
        return self.until is not None and time.monotonic() >= self.until


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and extremes; ``values`` must not be empty."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """``spread`` of the ratio in each round: a slowdown of a whole round does not change it."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def measure_rounds(
    arms: dict[str, Callable[[], float]],
    repeats: int,
    until: float | None = None,
    each: Callable[[], None] = lambda: None,
) -> Rounds:
    """Call every arm once per round, one after the other, after one warm-up round.

    No round except the first begins if it would last beyond ``until`` (a time of ``time.monotonic``). ``each`` is called after
    every round.
    """
    for arm in arms.values():
        arm()
    each()
    rounds: Rounds = {name: [] for name in arms}
    longest = 0.0
    for number in range(repeats):
        started = time.monotonic()
        if number and until is not None and started + longest > until:
            break
        for name, arm in arms.items():
            rounds[name].append(arm())
        longest = max(longest, time.monotonic() - started)
        each()
    return rounds


def count_flops(step: Callable[[], None]) -> int:
    """Floating-point operations of convolutions and matrix products in ``step``, forward and backward."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoModules()
    with torch.compiler.set_stance("force_eager"), counter:
        step()
    return counter.get_total_flops()


class _NoModules:
    """Replaces torch's module tracker, whose hooks do not allow the ``torch.autograd.grad`` of CLAE's attack."""

    parents = ("Global",)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def measure_base(base: str, labels: Sequence[str], setting: Setting, timer: Timer, part: float) -> list[dict[str, Any]]:
    """Rows of a base method and of ``labels`` under it, measured in the same rounds.

    Speeds are spreads over rounds. Only SimCLR has a stock pipeline to compare with. ``over_base`` compares whole training
    steps, ``flops_over_base`` their convolutions and matrix products. Takes the share ``part`` of the timer's remaining time.
    """
    until, text = timer.share(part), f"{setting.size} px, {base}"
    ours = {label: Ours(label, setting) for label in [base, *labels]}
    bare = Bare(base, setting)
    arms: dict[str, Callable[[], float]] = {" stock": Stock(setting).seconds} if base == "simclr" else {}
    # The bare step and the base's next to each other.
    arms |= {" bare": bare.seconds} | {label: arm.seconds for label, arm in ours.items()}
    rounds = measure_rounds(arms, setting.repeats, until, lambda: timer.step(text))
    measured = len(rounds[base])
    timer.step(text, setting.repeats - measured)
    flops = {label: count_flops(arm.step) for label, arm in ours.items()}
    del ours, bare, arms
    rows = []
    for label in [base, *labels]:
        row: dict[str, Any] = {
            "label": label,
            "title": parse_label(label).title,
            "rounds": measured,
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


def bench(
    settings: Sequence[Setting],
    labels: Sequence[str],
    memory: Sequence[str],
    say: Say,
    until: float | None = None,
    tick: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """The whole report, as JSON values; ``say`` is called at the start of every base method, ``tick`` after every round (``Timer``).

    ``labels`` are grouped under their base methods, which are always measured; peak memory is also measured for labels in
    ``memory``. With ``until``, a time of ``time.monotonic``, a slow machine measures fewer rounds than the settings say, and
    leaves memory out; the report's notes say so. Raises ``UserError`` for invalid labels and for sizes that cannot be
    trained.
    """
    groups: dict[str, list[str]] = {}
    for label in labels:
        parsed = parse_label(label)
        under = groups.setdefault(parsed.base, [])
        if parsed.strategies and str(parsed) not in under:
            under.append(str(parsed))
    for setting in settings:
        check(setting)
    load, started = _load(), datetime.now(UTC)
    sizes, notes = [], []
    weights = [MEMORY * bool(memory) + sum(map(_arms, groups.items())) for _ in settings]
    left = float(sum(weights))
    timer = Timer(sum((1 + setting.repeats) * len(groups) for setting in settings), until, tick)
    for setting in settings:
        rows = []
        for base, under in groups.items():
            say(f"{setting.size} px: {', '.join([base, *under])}")
            arms = _arms((base, under))
            rows += measure_base(base, under, setting, timer, arms / left)
            left -= arms
        for row in rows:
            if row["label"] not in memory:
                continue
            if timer.over:
                notes.append(f"{setting.size} px: no time was left for the memory of {row['label']}")
                continue
            say(f"{setting.size} px: memory of {row['label']}")
            row["peak_memory"] = peak_memory(row["label"], setting)
        left -= MEMORY * bool(memory)
        notes += _few_rounds(rows, setting, groups)
        sizes.append({"setting": setting.plain(), "rows": rows})
    first = next((row for row in sizes[0]["rows"] if row["label"] == "simclr"), {})
    headline = {
        key: first[key]["median"] if key in first else None for key in ("ratio_to_lightly_stock", "share_of_bare_step")
    }
    return {
        "format": 1,
        **headline,
        "headline": f"SimCLR, {settings[0].size} px, {settings[0].network}, medians of "
        f"{first.get('rounds', settings[0].repeats)} rounds",
        "notes": notes,
        "date": started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
        "machine": machine(settings[0].device, load),
        "sizes": sizes,
    }


MEMORY = 3
"""Number of arms that take about as long as measuring the memory of one label, whose process imports torch again."""


def _arms(group: tuple[str, list[str]]) -> int:
    """Number of arms measured side by side for a base method and the labels under it."""
    base, under = group
    return len(under) + 2 + (base == "simclr")


def _few_rounds(rows: list[dict[str, Any]], setting: Setting, bases: Iterable[str]) -> list[str]:
    """Notes if there was no time for all rounds."""
    few = {row["label"]: row["rounds"] for row in rows if row["label"] in bases and row["rounds"] < setting.repeats}
    if not few:
        return []
    measured = ", ".join(f"{count} for {base}" for base, count in few.items())
    text = f"{setting.size} px: this machine is too slow for {setting.repeats} rounds in the time given: measured were {measured}"
    return [text + (f"; fewer than {ENOUGH} say little" if min(few.values()) < ENOUGH else "")]


def check(setting: Setting) -> None:
    """Raise ``UserError`` if a setting cannot be measured."""
    for name, least in (("size", 8), ("batch", 4), ("repeats", 1), ("steps", 1), ("stock_steps", 1)):
        if getattr(setting, name) < least:
            raise UserError(f"--{name} {getattr(setting, name)}: must be at least {least}")
    if setting.batch % 2:
        raise UserError(f"--batch {setting.batch}: MixCo mixes the two halves of a batch; use an even number")


def machine(device: str, load: float | None) -> dict[str, Any]:
    """Hardware, code, versions, and how busy the machine was before: runnable processes, mean of a minute."""
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
        **code_and_versions(Path.cwd(), training_code("simclr", tuple(STRATEGIES), "convnet")),
    }


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None
