"""Results from different machines: numbers from other torch versions or devices differ in their last digits, possibly in more."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from sslpairs.plan.records import Receipt

DEVICES = Path("/dev")


def kind_here(choice: str) -> str:
    """Return whether runs train on 'cpu' or 'cuda' for this choice of device, as far as this can be determined without torch."""
    if choice != "auto":
        return choice.partition(":")[0]
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return "cuda" if not hidden and any(DEVICES.glob("nvidia[0-9]*")) else "cpu"


def mixture(receipts: Iterable[Receipt]) -> str | None:
    """Return one line that describes how the machines of some runs differ, or None if they do not.

    For example 'runs from different machines: torch 2.10.0 (3 runs), 2.11.0 (7 runs)'. Compares the version of torch and the
    device with its threads; the index of the GPU is ignored.
    """
    used: dict[str, Counter[str]] = {"torch": Counter(), "device": Counter()}
    for receipt in receipts:
        used["torch"][receipt.get("versions", {}).get("torch") or "unknown"] += 1
        used["device"][re.sub(r"^cuda:\d+", "cuda", receipt.get("device", "unknown"))] += 1
    parts = [
        f"{what} " + ", ".join(f"{name} ({count} run{'s' * (count > 1)})" for name, count in sorted(counts.items()))
        for what, counts in used.items()
        if len(counts) > 1
    ]
    return f"runs from different machines: {'; '.join(parts)}" if parts else None
