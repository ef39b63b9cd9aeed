"""Measure a baseline: raw pixels, or the untrained network of a seed."""

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from torch import Tensor

from sslpairs.backbones.build import seeded_backbone
from sslpairs.backbones.features import features
from sslpairs.config.backbones import Backbone
from sslpairs.data.arrays import ImageData, load
from sslpairs.data.images import Images
from sslpairs.data.memory import free_on, in_bytes
from sslpairs.distributed.device import configure_process, describe, pick_device
from sslpairs.errors import UserError
from sslpairs.evaluation.encoded import Encoded
from sslpairs.evaluation.evaluate import measure
from sslpairs.files import write_record
from sslpairs.plan.baselines import UNTRAINED, identity
from sslpairs.plan.fingerprint import baseline_code
from sslpairs.plan.paths import evaluation_file
from sslpairs.plan.records import PlannedBaseline


def measure_baseline(name: str, entry: PlannedBaseline, root: Path, device: str, threads: int) -> dict[str, Any]:
    """Measure a baseline of a plan; returns (and writes) its evaluation.

    Raises ``UserError`` if the data are not prepared, or are others than those of the plan.
    """
    configure_process(threads)
    place, spec = pick_device(device), entry["spec"]
    data = load(entry["dataset"], root, place, spec["dataset"])
    embed = untrained(spec, data, place) if spec["kind"] == UNTRAINED else pixels(spec["side"])
    train, test = ((embed(split.images), split.labels) for split in (data.train, data.test))
    run, _, key = name.partition("/")
    results, answers = measure(entry["protocols"], Encoded(train, test, len(data.classes), spec["seed"]))
    result = {
        "format": 2,
        "run": run,
        "key": key,
        "protocols": results,
        "answers": answers,
        "settings": entry["protocols"],
        "checkpoint": identity(entry),
        "content": spec["dataset"],
        "baseline": spec,
        "features": train[0].shape[1],
        "device": describe(place, threads),
        "code": baseline_code(tuple(entry["protocols"]), spec.get("backbone", {}).get("kind")),
    }
    return write_record(root / evaluation_file(name), result)


def untrained(spec: dict[str, Any], data: ImageData, device: torch.device):
    """Features of the network with which every training of this seed begins."""
    settings = TypeAdapter(Backbone).validate_python(spec["backbone"])
    network, _ = seeded_backbone(settings, data.train.images.shape[1], spec["seed"])
    network.to(device)
    return lambda images: features(network, images, data.mean, data.std)


def pixels(side: int, block: int = 1024):
    """Pixels on the scale 0 to 1, float32 ``[N, CHW]``; images of more than ``side`` pixels a side are averaged down to it. ``UserError``
    if they do not fit."""

    def embed(images: Images) -> Tensor:
        size = [min(length, side) for length in images.shape[2:]]
        needed, free = 4 * len(images) * images.shape[1] * math.prod(size), free_on(images.device)
        if needed > free:
            raise UserError(
                f"the pixels of {len(images):,} images take {in_bytes(needed)}, but {images.device} has {in_bytes(free)} free; leave "
                "'pixels' out of the scale's baselines"
            )
        return torch.cat([F.adaptive_avg_pool2d(part.float() / 255, size).flatten(1) for part in images.blocks(block)])

    return embed
