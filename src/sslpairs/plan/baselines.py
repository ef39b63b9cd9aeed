"""Baselines: what the protocols measure without any training, on raw pixels and under the untrained network of a seed.

A training is worth what it adds to them. Their names are made from all that they depend on, so that tables share them.
"""

from typing import Any

from sslpairs.files import canonical, sha256_text
from sslpairs.plan.evaluations import key_of
from sslpairs.plan.records import PlannedBaseline
from sslpairs.plan.spec import digest

UNTRAINED, PIXELS = "untrained", "pixels"
TITLES = {UNTRAINED: "Untrained network", PIXELS: "Raw pixels"}
SIDE = 32
"""Larger images are reduced to this many pixels a side before their pixels are compared."""


def plan_baseline(
    kind: str, dataset: str, content: str, backbone: dict[str, Any], seed: int, protocols: dict[str, Any], like: str
) -> tuple[str, PlannedBaseline]:
    """Return the name and the entry of a baseline. ``protocols`` are those that need no training, with their settings, ``like`` an
    evaluation of the same size."""
    own = {"backbone": backbone} if kind == UNTRAINED else {"side": SIDE}
    spec = {"kind": kind, "dataset": content, "seed": seed, **own}
    name = f"{kind}-{dataset}-s{seed}-{digest(spec)}/{key_of(protocols)}"
    return name, {"spec": spec, "dataset": dataset, "protocols": protocols, "like": like}


def identity(entry: PlannedBaseline) -> str:
    """Return what takes the place of the digest of trained weights."""
    return sha256_text(canonical(entry["spec"]))
