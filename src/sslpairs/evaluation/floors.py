"""Baselines: the protocols on raw pixels and on untrained networks. A training is worth what it adds to them."""

from pathlib import Path
from typing import Any

from sslpairs.backbones.features import features, pixels
from sslpairs.data.arrays import load
from sslpairs.distributed.device import pick_device, settle
from sslpairs.evaluation.encoded import Encoded
from sslpairs.evaluation.evaluate import measure
from sslpairs.methods.build import fresh_backbone
from sslpairs.plan.records import PlannedRun
from sslpairs.plan.spec import RunSpec


def floors(run: PlannedRun, protocols: dict[str, Any], root: Path, device: str, threads: int) -> dict[str, Any]:
    """Protocol -> metric -> value, for ``pixels`` and for the ``untrained`` network.

    ``run`` is a plan's entry of a run; the network is the initial one of its training. Protocols that are measured during training are
    left out.
    """
    settle(threads)
    spec = RunSpec.model_validate(run["spec"])
    protocols = {name: settings for name, settings in protocols.items() if settings is not None}
    data = load(run["dataset"], root, pick_device(device), spec.dataset)
    network, _ = fresh_backbone(spec, data.train.images.shape[1])
    network.to(data.train.images.device)
    made = {
        "pixels": pixels,
        "untrained": lambda images: features(network, images, data.mean, data.std),
    }
    results = {}
    for name, embed in made.items():
        train, test = ((embed(split.images), split.labels) for split in (data.train, data.test))
        results[name], _ = measure(protocols, Encoded(train, test, len(data.classes), spec.seed))
    return results
