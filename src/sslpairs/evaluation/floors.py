"""Floors: what the protocols find in raw pixels and in untrained networks. A training is worth what it adds to them."""

from pathlib import Path
from typing import Any

from sslpairs.backbones.features import features, pixels
from sslpairs.config.protocols import Protocols
from sslpairs.data.arrays import load
from sslpairs.distributed.device import pick_device, settle
from sslpairs.evaluation.knn import evaluate_knn
from sslpairs.evaluation.linear import evaluate_linear
from sslpairs.methods.build import fresh_backbone
from sslpairs.plan.spec import RunSpec


def floors(run: dict[str, Any], protocols: dict[str, Any], root: Path, device: str, threads: int) -> dict[str, Any]:
    """Top-1 in percent of the ``linear`` and ``knn`` protocols, for ``pixels`` and for the ``untrained`` network.

    ``run`` is a plan's entry of a run; the network is the one with which its training starts.
    """
    settle(threads)
    spec, how = RunSpec.model_validate(run["spec"]), Protocols.model_validate(protocols)
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
        results[name] = {
            "linear": evaluate_linear(how.linear, train, test, len(data.classes), spec.seed)["last"],
            "knn": evaluate_knn(how.knn, train, test, len(data.classes))["last"],
        }
    return results
