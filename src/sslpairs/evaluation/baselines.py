"""Measure a baseline: raw pixels, or the untrained network of a seed."""

from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from sslpairs.backbones.build import seeded_backbone
from sslpairs.backbones.features import features, pixels
from sslpairs.config.backbones import Backbone
from sslpairs.data.arrays import ImageData, load
from sslpairs.data.images import Images
from sslpairs.distributed.device import configure_process, describe, pick_device
from sslpairs.evaluation.encoded import Encoded
from sslpairs.evaluation.evaluate import measure
from sslpairs.files import write_record
from sslpairs.plan.baselines import PIXELS, identity
from sslpairs.plan.fingerprint import baseline_code
from sslpairs.plan.paths import evaluation_file
from sslpairs.plan.records import PlannedBaseline


def measure_baseline(name: str, entry: PlannedBaseline, root: Path, device: str, threads: int) -> dict[str, Any]:
    """Measure a baseline of a plan; returns (and writes) its evaluation.

    Raises ``UserError`` if the data are not prepared, or are others than those of the plan.
    """
    configure_process(threads)
    torch_device, spec = pick_device(device), entry["spec"]
    data = load(entry["dataset"], root, torch_device, spec["dataset"])
    splits = (data.train.labelled(), data.test)
    train, test = ((_embed(spec, data, split.images, torch_device), split.labels) for split in splits)
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
        "device": describe(torch_device, threads),
        "code": baseline_code(tuple(entry["protocols"]), spec.get("backbone", {}).get("kind")),
    }
    return write_record(root / evaluation_file(name), result)


def _embed(spec: dict[str, Any], data: ImageData, images: Images, device: torch.device) -> Tensor:
    """Features ``[N, D]``: pixels, or those of the network with which every training of this seed begins."""
    if spec["kind"] == PIXELS:
        return pixels(images, spec["side"], "leave 'pixels' out of the scale's baselines")
    settings = TypeAdapter(Backbone).validate_python(spec["backbone"])
    network, _ = seeded_backbone(settings, *images.shape[1:3], spec["seed"])
    return features(network.to(device), images, data.mean, data.std)
